// Real sockets on loopback: IPv4, IPv6, both at once, multicast, and what goes wrong.

import assert from 'node:assert/strict'
import { networkInterfaces } from 'node:os'
import { test } from 'node:test'
import type { HostAddress } from '../../src/base/address.ts'
import { silentLogger, systemClock } from '../../src/base/world.ts'
import { UdpTransport, type UdpTransportOptions } from '../../src/replication/live/udp-transport.ts'
import { MAX_DATAGRAM_BYTES } from '../../src/wire/datagram.ts'
import { until } from '../support/latch.ts'
import { TestNode } from '../support/replication-node.ts'

interface Heard {
  readonly text: string
  readonly from: HostAddress
}

class Endpoint {
  readonly heard: Heard[] = []
  readonly warnings: string[] = []
  readonly transport: UdpTransport

  constructor(host: string, port = 0, options: Partial<UdpTransportOptions> = {}) {
    const logger = {
      ...silentLogger,
      warn: (_fields: unknown, message: string) => this.warnings.push(message),
    }
    this.transport = new UdpTransport({
      listen: { host, port },
      clock: systemClock,
      logger,
      ...options,
    })
  }

  start(): Promise<void> {
    return this.transport.start((datagram, from) => {
      this.heard.push({ text: datagram.toString(), from })
    })
  }

  send(text: string, to: HostAddress): boolean {
    return this.transport.send(Buffer.from(text), to)
  }
}

async function started(
  t: { after: (cleanup: () => Promise<void>) => void },
  ...endpoints: Endpoint[]
): Promise<Endpoint[]> {
  t.after(async () => {
    await Promise.all(endpoints.map((endpoint) => endpoint.transport.stop()))
  })
  for (const endpoint of endpoints) await endpoint.start()
  return endpoints
}

/** Linux routes IPv6 multicast over every interface but loopback. */
function interfaceWithIpv6(): string | undefined {
  const named = Object.entries(networkInterfaces())
  return named.find(([, addresses]) =>
    addresses?.some((address) => address.family === 'IPv6' && !address.internal),
  )?.[0]
}

for (const [name, host, seenAs] of [
  ['IPv4', '127.0.0.1', '127.0.0.1'],
  ['IPv6', '::1', '::1'],
  ['a name', 'localhost', undefined],
] as const) {
  test(`datagrams there and back over ${name}`, async (t) => {
    const [a, b] = (await started(t, new Endpoint(host), new Endpoint(host))) as [
      Endpoint,
      Endpoint,
    ]
    assert.ok(a.transport.address.port > 0)
    assert.equal(a.transport.group, undefined)
    assert.ok(a.send('ping', b.transport.address))
    await until('b heard', () => b.heard.length === 1)
    assert.deepEqual(b.heard[0], { text: 'ping', from: a.transport.address })
    if (seenAs !== undefined) assert.equal(b.heard[0].from.host, seenAs)
    b.send('pong', b.heard[0].from)
    await until('a heard', () => a.heard.length === 1)
    assert.equal(a.transport.stats.sendErrors, 0)
    assert.ok(a.transport.stats.receiveBufferBytes > 0)
  })
}

test('a socket on all addresses speaks both versions and shows IPv4 as IPv4', async (t) => {
  const [both, v4, v6] = (await started(
    t,
    new Endpoint('::'),
    new Endpoint('127.0.0.1'),
    new Endpoint('::1'),
  )) as [Endpoint, Endpoint, Endpoint]
  const { port } = both.transport.address
  v4.send('four', { host: '127.0.0.1', port })
  v6.send('six', { host: '::1', port })
  await until('both heard both', () => both.heard.length === 2)
  assert.deepEqual(both.heard.map(({ from }) => from.host).sort(), ['127.0.0.1', '::1'])
  both.send('back', v4.transport.address)
  both.send('back', v6.transport.address)
  await until('they heard', () => v4.heard.length === 1 && v6.heard.length === 1)
})

test('the largest datagram passes, and send reaches the kernel at once', async (t) => {
  const [a, b] = (await started(t, new Endpoint('127.0.0.1'), new Endpoint('127.0.0.1'))) as [
    Endpoint,
    Endpoint,
  ]
  assert.ok(a.transport.send(Buffer.alloc(MAX_DATAGRAM_BYTES, 'x'), b.transport.address))
  assert.equal(a.transport.queuedBytes, 0)
  await until('it came', () => b.heard.length === 1)
  assert.equal(b.heard[0]?.text.length, MAX_DATAGRAM_BYTES)
})

for (const [name, group, networkInterface] of [
  ['IPv4 by address of the interface', '239.77.77.77', '127.0.0.1'],
  ['IPv4 by name of the interface', '239.77.77.78', 'lo'],
  ['IPv6', 'ff02::7777', interfaceWithIpv6()],
] as const) {
  test(`multicast over ${name}: all hear it, answers come back to the sender alone`, async (t) => {
    if (networkInterface === undefined) {
      t.skip('only loopback speaks IPv6 here, and it has no IPv6 multicast')
      return
    }
    const first = new Endpoint(group, 47_171, { networkInterface })
    const second = new Endpoint(group, 47_171, { networkInterface })
    await started(t, first, second)
    const { group: target } = first.transport
    assert.ok(target !== undefined)
    assert.notEqual(first.transport.address.port, target.port)
    first.send('to all', target)
    await until('both heard', () => first.heard.length === 1 && second.heard.length === 1)
    const from = second.heard[0]?.from
    assert.ok(from !== undefined && from.port === first.transport.address.port)
    second.send('to you', from)
    await until('the answer came', () => first.heard.length === 2)
    assert.equal(second.heard.length, 1)
  })
}

test('an address in use, one that is not here, and an interface that is not', async (t) => {
  const [taken] = (await started(t, new Endpoint('127.0.0.1'))) as [Endpoint]
  const { port } = taken.transport.address
  for (const [endpoint, message] of [
    [new Endpoint('127.0.0.1', port), /EADDRINUSE 127\.0\.0\.1:\d+$/],
    [new Endpoint('192.0.2.77', 0), /EADDRNOTAVAIL 192\.0\.2\.77$/],
    [new Endpoint('239.1.1.1', 0, { networkInterface: 'none0' }), /none0 has no IPv4 address/],
    [new Endpoint('ff02::1', 0, { networkInterface: 'none0' }), /ff02::1%none0/],
  ] as const) {
    await assert.rejects(endpoint.start(), { message })
    assert.equal(endpoint.send('x', taken.transport.address), false)
    await endpoint.transport.stop()
  }
})

test('what the network refuses is counted and logged once, never thrown', async (t) => {
  const [endpoint] = (await started(t, new Endpoint('127.0.0.1'))) as [Endpoint]
  const refused: HostAddress[] = [
    { host: '::1', port: 7171 },
    { host: '127.0.0.1', port: 0 },
    { host: '192.0.2.1', port: 7171 },
  ]
  for (const to of refused) assert.equal(endpoint.send('x', to), true)
  await until('all were counted', () => endpoint.transport.stats.sendErrors === 3)
  assert.equal(endpoint.warnings.filter((line) => line.includes('refused')).length, 1)
})

test('after stop nothing is sent; stop is idempotent', async () => {
  const endpoint = new Endpoint('127.0.0.1')
  await endpoint.transport.stop()
  await endpoint.start()
  await endpoint.transport.stop()
  await endpoint.transport.stop()
  assert.equal(endpoint.send('x', { host: '127.0.0.1', port: 9 }), false)
  assert.equal(endpoint.transport.queuedBytes, 0)
})

for (const [name, listen, networkInterface] of [
  ['IPv4 unicast', '127.0.0.1', undefined],
  ['IPv6 unicast', '::1', undefined],
  ['IPv4 multicast', '239.77.77.79', '127.0.0.1'],
] as const) {
  test(`three nodes replicate over real sockets: ${name}`, async (t) => {
    const isGroup = networkInterface !== undefined
    const nodes = [1, 2, 3].map((number) => {
      const { transport } = new Endpoint(listen, isGroup ? 47_172 : 0, { networkInterface })
      const node = new TestNode({ name: `node-${number}`, transport, clock: systemClock })
      return { node, transport }
    })
    t.after(async () => {
      await Promise.all(nodes.map(({ node }) => node.replicator.stop()))
    })
    for (const { node } of nodes) await node.replicator.start()
    const addresses = nodes.map(({ transport }) => transport.address)
    if (!isGroup) for (const { node } of nodes) await node.replicator.setPeers(addresses)
    await until('all know each other', () =>
      nodes.every(({ node }) => node.replicator.peers().filter((p) => p.isVerified).length === 2),
    )
    for (const [index, { node }] of nodes.entries()) {
      for (let number = 0; number < 200; number += 1) {
        node.put(`${index}-${number}`, number + 1, {
          session: Buffer.alloc(number * 20 + 1, number),
        })
      }
    }
    await until('everything is everywhere', () =>
      nodes.every(({ node }) => node.newest.size === 400),
    )
    assert.ok(nodes.every(({ node }) => node.replicator.stats.lost === 0))
  })
}
