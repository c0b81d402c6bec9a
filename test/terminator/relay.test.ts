// What lies between client and backend: both directions, their ends, back pressure, silence, PROXY headers.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import type { TLSSocket } from 'node:tls'
import { silentLogger, systemClock } from '../../src/base/world.ts'
import {
  BackendPool,
  type BackendPoolOptions,
  createRelay,
  type RelayOptions,
} from '../../src/terminator/relay.ts'
import type { ClientOrigin } from '../../src/terminator/tls-front.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { freePorts } from '../support/free-ports.ts'
import { until } from '../support/latch.ts'
import {
  closed,
  greet,
  type RecordingBackend,
  readAll,
  startBackend,
  startFront,
} from '../support/terminator-fixture.ts'

async function setUp(
  t: TestContext,
  { pool, ...options }: Partial<RelayOptions> & { pool?: Partial<BackendPoolOptions> } = {},
) {
  const backend = await startBackend(t)
  const clock = options.clock ?? systemClock
  const backends = new BackendPool({
    addresses: [backend.address],
    connectTimeoutMs: 5000,
    checkPeriodMs: 5000,
    clock,
    logger: silentLogger,
    ...pool,
  })
  const relay = createRelay({ backends, idleTimeoutMs: 60_000, clock, ...options })
  const clients: TLSSocket[] = []
  const serve = (client: TLSSocket, origin: ClientOrigin) => {
    clients.push(client)
    relay(client, origin)
  }
  const { front, address } = await startFront(t, { serve, clock })
  return { backend, front, address, clients }
}

async function accepted({ sockets }: RecordingBackend) {
  await until('the backend was asked', () => sockets.length > 0)
  const [socket] = sockets
  assert.ok(socket !== undefined)
  return socket
}

test('a client that ends its side still gets its answer', async (t) => {
  const { backend, front, address } = await setUp(t)
  const client = await greet(address)
  client.end('question')
  const behind = await accepted(backend)
  assert.equal(await readAll(behind), 'question')
  behind.end('answer')
  assert.equal(await readAll(client), 'answer')
  await until('nothing is open', () => front.readStats().connections === 0)
})

test('a backend that ends its side still gets the rest of the question', async (t) => {
  const { backend, front, address } = await setUp(t)
  const client = await greet(address, { allowHalfOpen: true } as object)
  const behind = await accepted(backend)
  behind.end('answer')
  assert.equal(await readAll(client), 'answer')
  client.end('question')
  assert.equal(await readAll(behind), 'question')
  await until('nothing is open', () => front.readStats().connections === 0)
})

test('megabytes come through whole in both directions at once', async (t) => {
  const { backend, address } = await setUp(t)
  const client = await greet(address)
  const behind = await accepted(backend)
  behind.pipe(behind)
  const sent = Buffer.alloc(3_000_000, 'abcdefghijk')
  client.end(sent)
  const received = await readAll(client)
  assert.equal(received.length, sent.length)
  assert.ok(received === sent.toString('latin1'))
})

test('a sender is held back while its receiver does not read', async (t) => {
  const { backend, address, clients } = await setUp(t)
  const client = await greet(address)
  const behind = await accepted(backend)
  behind.pause()
  // More than all buffers of the kernel between here and there.
  const bytes = 32_000_000
  client.write(Buffer.alloc(bytes))
  await until('the terminator reads no more', () => clients[0]?.isPaused() === true)
  assert.ok((clients[0]?.readableLength ?? bytes) < 200_000)
  assert.ok(client.writableLength > 0)
  let received = 0
  behind.on('data', (chunk: Buffer) => {
    received += chunk.length
  })
  behind.resume()
  await until('all of it came', () => received === bytes)
  client.destroy()
})

const breaks: readonly (readonly [string, 'client' | 'backend'])[] = [
  ['a client that is reset takes its backend connection with it', 'client'],
  ['a backend that is reset takes its client with it', 'backend'],
]
for (const [name, who] of breaks) {
  test(name, async (t) => {
    const { backend, front, address, clients } = await setUp(t)
    const client = await greet(address)
    const behind = await accepted(backend)
    const [gone, other] = who === 'client' ? [clients[0], behind] : [behind, client]
    const over = closed(other)
    if (gone === behind) behind.resetAndDestroy()
    else gone?.destroy(new Error('reset'))
    if (other === behind) other.resume().on('end', () => other.end())
    await over
    await until('nothing is open', () => front.readStats().connections === 0)
  })
}

test('a connection on which nothing moves is broken off, one on which something does is not', async (t) => {
  const clock = new FakeClock()
  const { backend, front, address, clients } = await setUp(t, { clock, idleTimeoutMs: 1000 })
  const client = await greet(address)
  const over = closed(client)
  const behind = await accepted(backend)
  await until('they are joined', () => clients[0]?.listenerCount('data') === 2)
  for (const [from, to] of [
    [client, behind],
    [behind, client],
  ] as const) {
    clock.advance(999)
    const came = once(to, 'data')
    from.write('x')
    await came
  }
  clock.advance(999)
  assert.equal(front.readStats().connections, 1)
  clock.advance(1)
  await over
  await until('nothing is open', () => front.readStats().connections === 0)
  assert.equal(clock.pendingCount, 0)
})

test('without a backend that answers the client is let go', async (t) => {
  const [port = 0] = await freePorts(1)
  const { front, address } = await setUp(t, {
    pool: { addresses: [{ host: '127.0.0.1', port }] },
  })
  await closed(await greet(address))
  await until('nothing is open', () => front.readStats().connections === 0)
})

test('a client that goes while its backend is looked for ends the search', async (t) => {
  const clock = new FakeClock()
  const pool = { connect: () => new Socket() }
  const { front, address, clients } = await setUp(t, { clock, pool })
  const client = await greet(address)
  await until('the search goes on', () => clients.length === 1)
  clients[0]?.destroy()
  await closed(client)
  await until('nothing is open', () => front.readStats().connections === 0)
  assert.equal(clock.pendingCount, 0)
})

test('version 1 of the PROXY protocol: one line before everything else', async (t) => {
  const { backend, address } = await setUp(t, { proxyProtocol: 'v1' })
  const client = await greet(address)
  client.end('question')
  const received = await readAll(await accepted(backend))
  const line = `PROXY TCP4 127.0.0.1 127.0.0.1 ${client.localPort} ${address.port}\r\n`
  assert.equal(received, `${line}question`)
})

test('version 2 of the PROXY protocol: addresses, names and what TLS agreed on', async (t) => {
  const { backend, address } = await setUp(t, { proxyProtocol: 'v2' })
  const client = await greet(address, { servername: 'a.test' })
  const port = client.localPort ?? 0
  client.end('question')
  const received = Buffer.from(await readAll(await accepted(backend)), 'latin1')
  assert.equal(received.toString('hex', 0, 14), '0d0a0d0a000d0a515549540a2111')
  const end = 16 + received.readUInt16BE(14)
  assert.equal(received.toString('hex', 16, 24), '7f0000017f000001')
  assert.deepEqual([received.readUInt16BE(24), received.readUInt16BE(26)], [port, address.port])
  const tlvs = received.toString('latin1', 28, end)
  assert.ok(tlvs.startsWith('\x02\0\x06a.test\x20\0'), 'the server name')
  assert.ok(tlvs.includes('\x21\0\x07TLSv1.3\x23\0'), 'version and cipher')
  assert.equal(received.toString('latin1', end), 'question')
})
