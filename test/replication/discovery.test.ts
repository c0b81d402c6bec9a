// Peers by address and by name: all addresses, asked again, kept when the name server fails.

import assert from 'node:assert/strict'
import { syncBuiltinESMExports } from 'node:module'
import os from 'node:os'
import { mock, test } from 'node:test'
import type { HostAddress } from '../../src/base/address.ts'
import { silentLogger } from '../../src/base/world.ts'
import { requireKeys } from '../../src/node/keys.ts'
import {
  isOwnAddress,
  isReachable,
  systemInterfaceAddresses,
} from '../../src/replication/peers/addresses.ts'
import {
  Discovery,
  formatPeerSource,
  type PeerSource,
  parsePeerSource,
  RESOLVE_PERIOD_MS,
  serviceResolverOf,
  systemResolver,
} from '../../src/replication/peers/discovery.ts'
import { FakeClock } from '../support/fake-clock.ts'

class Fixture {
  readonly clock = new FakeClock()
  /** Answers of the name server; one that is missing fails. */
  readonly zone = new Map<string, readonly string[]>()
  readonly services = new Map<string, readonly HostAddress[]>()
  readonly announced: string[][] = []
  readonly warnings: string[] = []
  readonly discovery: Discovery

  constructor(peers: readonly PeerSource[], isExcluded = (_address: HostAddress) => false) {
    this.discovery = new Discovery({
      peers,
      resolver: (name) => {
        const addresses = this.zone.get(name)
        return addresses === undefined
          ? Promise.reject(new Error('SERVFAIL'))
          : Promise.resolve(addresses)
      },
      serviceResolver: (service) => {
        const targets = this.services.get(service)
        return targets === undefined
          ? Promise.reject(new Error('SERVFAIL'))
          : Promise.resolve(targets)
      },
      isExcluded,
      clock: this.clock,
      logger: { ...silentLogger, warn: (_fields, message) => this.warnings.push(message) },
      onChange: (addresses) => this.announced.push(addresses.map((a) => `${a.host} ${a.port}`)),
    })
  }

  get last(): string[] | undefined {
    return this.announced.at(-1)
  }

  /** Lets the clock run one period and the answers arrive. */
  async nextPeriod(): Promise<void> {
    this.clock.advance(RESOLVE_PERIOD_MS)
    await new Promise((resolve) => setImmediate(resolve))
  }
}

const LITERAL = { host: '10.0.0.1', port: 7171 }
const NAME = { host: 'nodes.test', port: 7171 }

test('literal addresses are known at once, names with all their addresses of both versions', async () => {
  const fixture = new Fixture([LITERAL, NAME])
  fixture.zone.set('nodes.test', ['10.0.0.1', '10.0.0.2', 'fd00::2'])
  const started = fixture.discovery.start()
  assert.deepEqual(fixture.announced, [['10.0.0.1 7171']])
  await started
  assert.deepEqual(fixture.last, ['10.0.0.1 7171', '10.0.0.2 7171', 'fd00::2 7171'])
  fixture.discovery.stop()
  assert.equal(fixture.clock.pendingCount, 0)
})

test('a name is asked again every 30 s; when that fails its last addresses stay', async () => {
  const fixture = new Fixture([NAME])
  fixture.zone.set('nodes.test', ['10.0.0.2'])
  await fixture.discovery.start()
  fixture.zone.set('nodes.test', ['10.0.0.3', '10.0.0.4'])
  await fixture.nextPeriod()
  assert.deepEqual(fixture.last, ['10.0.0.3 7171', '10.0.0.4 7171'])
  fixture.zone.delete('nodes.test')
  await fixture.nextPeriod()
  fixture.zone.set('nodes.test', [])
  await fixture.nextPeriod()
  assert.deepEqual(fixture.last, ['10.0.0.3 7171', '10.0.0.4 7171'])
  assert.equal(fixture.warnings.length, 1, 'a failure that goes on is told once in a while')
  fixture.zone.set('nodes.test', ['10.0.0.5'])
  await fixture.nextPeriod()
  assert.deepEqual(fixture.last, ['10.0.0.5 7171'])
  fixture.discovery.stop()
})

test('a name that fails from the start leaves the others alone', async () => {
  const fixture = new Fixture([NAME, LITERAL])
  await fixture.discovery.start()
  assert.deepEqual(fixture.last, ['10.0.0.1 7171'])
  assert.equal(fixture.warnings.length, 1)
  fixture.discovery.stop()
})

test('peers can be replaced, and addresses left out', async () => {
  const fixture = new Fixture([LITERAL, NAME], ({ host }) => host === '10.0.0.2')
  fixture.zone.set('nodes.test', ['10.0.0.2', '10.0.0.3'])
  await fixture.discovery.start()
  assert.deepEqual(fixture.last, ['10.0.0.1 7171', '10.0.0.3 7171'])
  await fixture.discovery.setPeers([{ host: '10.0.0.9', port: 1 }])
  assert.deepEqual(fixture.last, ['10.0.0.9 1'])
  fixture.discovery.stop()
})

test('an answer that comes when the peers are others by now changes nothing', async () => {
  const answers = new Map<string, (addresses: readonly string[]) => void>()
  const announced: string[][] = []
  const discovery = new Discovery({
    peers: [NAME],
    resolver: (name) => new Promise((resolve) => answers.set(name, resolve)),
    serviceResolver: () => Promise.resolve([]),
    isExcluded: () => false,
    clock: new FakeClock(),
    logger: silentLogger,
    onChange: (addresses) => announced.push(addresses.map(({ host }) => host)),
  })
  const started = discovery.start()
  await new Promise((resolve) => setImmediate(resolve))
  const set = discovery.setPeers([{ host: 'others.test', port: 7171 }])
  await new Promise((resolve) => setImmediate(resolve))
  answers.get('others.test')?.(['10.0.0.3'])
  await set
  answers.get('nodes.test')?.(['10.0.0.2'])
  await started
  assert.deepEqual(announced.at(-1), ['10.0.0.3'])
  discovery.stop()
})

test('the addresses of this machine are those last known while it does not tell', () => {
  const interfaceAddresses = systemInterfaceAddresses()
  const known = interfaceAddresses()
  const failing = mock.method(os, 'networkInterfaces', () => {
    throw new Error('EMFILE')
  })
  syncBuiltinESMExports()
  assert.deepEqual(interfaceAddresses(), known)
  assert.equal(failing.mock.callCount(), 1)
  failing.mock.restore()
  syncBuiltinESMExports()
})

const SERVICE = { service: '_tlscached._udp.test' }

test('a service is all its names and ports, with all their addresses', async () => {
  const fixture = new Fixture([SERVICE, LITERAL])
  fixture.services.set(SERVICE.service, [
    { host: 'one.test', port: 7171 },
    { host: 'two.test', port: 7272 },
    { host: '10.0.0.9', port: 7373 },
  ])
  fixture.zone.set('one.test', ['10.0.0.2', 'fd00::2'])
  fixture.zone.set('two.test', ['10.0.0.2'])
  await fixture.discovery.start()
  assert.deepEqual(fixture.last, [
    '10.0.0.2 7171',
    'fd00::2 7171',
    '10.0.0.2 7272',
    '10.0.0.9 7373',
    '10.0.0.1 7171',
  ])
  fixture.discovery.stop()
  assert.equal(fixture.clock.pendingCount, 0)
})

test('peers of a service come and go; a failure of either record keeps the last ones', async () => {
  const fixture = new Fixture([SERVICE])
  await fixture.discovery.start()
  assert.deepEqual(fixture.announced.at(-1), [])
  fixture.services.set(SERVICE.service, [{ host: 'one.test', port: 7171 }])
  fixture.zone.set('one.test', ['10.0.0.2'])
  await fixture.nextPeriod()
  assert.deepEqual(fixture.last, ['10.0.0.2 7171'])
  fixture.services.set(SERVICE.service, [
    { host: 'one.test', port: 7171 },
    { host: 'two.test', port: 7171 },
  ])
  fixture.zone.set('two.test', ['10.0.0.3'])
  await fixture.nextPeriod()
  assert.deepEqual(fixture.last, ['10.0.0.2 7171', '10.0.0.3 7171'])
  fixture.services.delete(SERVICE.service)
  fixture.zone.delete('one.test')
  await fixture.nextPeriod()
  fixture.services.set(SERVICE.service, [])
  await fixture.nextPeriod()
  assert.deepEqual(fixture.last, ['10.0.0.2 7171', '10.0.0.3 7171'])
  fixture.services.set(SERVICE.service, [{ host: 'two.test', port: 7171 }])
  await fixture.nextPeriod()
  assert.deepEqual(fixture.last, ['10.0.0.3 7171'])
  await fixture.discovery.setPeers([LITERAL])
  assert.deepEqual(fixture.last, ['10.0.0.1 7171'])
  fixture.discovery.stop()
})

test('a target that is the root says that the service is not there', async () => {
  const resolve = serviceResolverOf({
    resolveSrv: () => Promise.resolve([{ name: '', port: 0 }]),
  })
  assert.deepEqual(await resolve('_tlscached._udp.test'), [])
})

const sources: readonly [string, PeerSource | undefined][] = [
  ['10.0.0.1:7171', { host: '10.0.0.1', port: 7171 }],
  ['[fd00::1]:7171', { host: 'fd00::1', port: 7171 }],
  ['nodes.test:7171', { host: 'nodes.test', port: 7171 }],
  ['dns+srv://_tlscached._udp.test', { service: '_tlscached._udp.test' }],
  ['dns+srv://nodes.test.', { service: 'nodes.test.' }],
  ['10.0.0.1:0', undefined],
  ['10.0.0.1', undefined],
  ['dns+srv://', undefined],
  ['dns+srv://_tlscached._udp.test:7171', undefined],
  ['dns+srv://_tlscached..test', undefined],
  ['dns+srv://-nodes.test', undefined],
  [`dns+srv://${'a'.repeat(64)}.test`, undefined],
  [`dns+srv://${'a.'.repeat(127)}`, undefined],
  ['dns+a://nodes.test', undefined],
]

for (const [text, source] of sources) {
  test(`a peer written as ${text.slice(0, 40)}: ${source === undefined ? 'refused' : 'taken'}`, () => {
    if (source === undefined) {
      assert.throws(() => parsePeerSource(text), { code: 'ERR_ADDRESS' })
      return
    }
    assert.deepEqual(parsePeerSource(text), source)
    assert.equal(formatPeerSource(source), text)
  })
}

test('the system knows where localhost is', async () => {
  const addresses = await systemResolver('localhost')
  assert.ok(addresses.includes('127.0.0.1') || addresses.includes('::1'))
})

const ownCases: readonly [string, HostAddress, HostAddress, boolean][] = [
  ['the bound address', { host: '10.0.0.1', port: 1 }, { host: '10.0.0.1', port: 1 }, true],
  ['another port', { host: '10.0.0.1', port: 2 }, { host: '10.0.0.1', port: 1 }, false],
  ['another host', { host: '10.0.0.2', port: 1 }, { host: '10.0.0.1', port: 1 }, false],
  ['of an interface, bound to all', { host: '10.9.9.9', port: 1 }, { host: '::', port: 1 }, true],
  [
    'of no interface, bound to all',
    { host: '10.9.9.8', port: 1 },
    { host: '0.0.0.0', port: 1 },
    false,
  ],
  ['loopback, bound to all', { host: '127.0.0.1', port: 1 }, { host: '0.0.0.0', port: 1 }, true],
  [
    'of an interface, bound to another',
    { host: '10.9.9.9', port: 1 },
    { host: '10.0.0.1', port: 1 },
    false,
  ],
]

for (const [name, address, bound, isOwn] of ownCases) {
  test(`own address: ${name}: ${isOwn}`, () => {
    assert.equal(
      isOwnAddress(address, bound, () => ['10.9.9.9']),
      isOwn,
    )
  })
}

test('a socket reaches its own IP version, one on :: both', () => {
  const v4 = { host: '10.0.0.1', port: 1 }
  const v6 = { host: 'fd00::1', port: 1 }
  assert.deepEqual(
    [v4, v6].map((address) => isReachable(address, { host: '0.0.0.0', port: 1 })),
    [true, false],
  )
  assert.deepEqual(
    [v4, v6].map((address) => isReachable(address, v6)),
    [false, true],
  )
  assert.deepEqual(
    [v4, v6].map((address) => isReachable(address, { host: '::', port: 1 })),
    [true, true],
  )
})

const at = (host: string) => ({ host, port: 7171 })
/** Returns a peer as a configuration names it: a service, or a host with the port that all have here. */
const peerAt = (text: string) => (text.includes('//') ? parsePeerSource(text) : at(text))
const keyCases: readonly [string, string, string[], boolean, boolean, boolean][] = [
  // listen, peers, has keys, insecure, allowed
  ['loopback alone', '127.0.0.1', [], false, false, true],
  ['loopback of both versions', '::1', ['127.0.0.5'], false, false, true],
  ['localhost', 'localhost', ['localhost'], false, false, true],
  ['all addresses', '::', [], false, false, false],
  ['a private address', '10.0.0.1', [], false, false, false],
  ['a peer elsewhere', '127.0.0.1', ['127.0.0.2', '10.0.0.1'], false, false, false],
  ['a peer by name', '127.0.0.1', ['nodes.test'], false, false, false],
  ['a service', '127.0.0.1', ['dns+srv://_tlscached._udp.test'], false, false, false],
  ['a multicast group', '239.1.1.1', [], false, false, false],
  ['an IPv6 group', 'ff02::1', [], false, false, false],
  ['with keys anywhere', '10.0.0.1', ['nodes.test'], true, false, true],
  ['insecure anywhere', '239.1.1.1', ['10.0.0.1'], false, true, true],
]

for (const [name, listen, peers, hasKeys, isInsecure, isAllowed] of keyCases) {
  test(`keys required: ${name}: ${!isAllowed}`, () => {
    const check = () => requireKeys(at(listen), peers.map(peerAt), hasKeys, isInsecure)
    if (isAllowed) check()
    else assert.throws(check, { code: 'ERR_INSECURE', message: /keygen.*insecure: true/ })
  })
}

test('a name server that is silent for longer than a period gathers no questions', async () => {
  const clock = new FakeClock()
  const questions: string[] = []
  const answers: ((addresses: readonly string[]) => void)[] = []
  let announced: readonly HostAddress[] = []
  const discovery = new Discovery({
    peers: [NAME, { host: 'more.test', port: 7171 }],
    resolver: (name) => {
      questions.push(name)
      return new Promise((resolve) => answers.push(resolve))
    },
    serviceResolver: async () => [],
    isExcluded: () => false,
    clock,
    logger: silentLogger,
    onChange: (addresses) => {
      announced = addresses
    },
  })
  const started = discovery.start()
  const turn = () => new Promise((resolve) => setImmediate(resolve))
  for (let period = 0; period < 10; period += 1) {
    clock.advance(RESOLVE_PERIOD_MS)
    await turn()
  }
  assert.deepEqual(questions, ['nodes.test', 'more.test'])
  for (const answer of answers.splice(0)) answer(['10.0.0.9'])
  await started
  assert.equal(announced.length, 1)
  clock.advance(RESOLVE_PERIOD_MS)
  await turn()
  assert.equal(questions.length, 4)
  discovery.stop()
})
