// What somebody without the key can do to the connections between nodes, with recordings of them or from
// the middle of one: nothing but be counted, and be answered with less than was sent.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { afterEach, test } from 'node:test'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'
import type { HostAddress } from '../../src/base/address.ts'
import { type Clock, silentLogger, systemClock } from '../../src/base/world.ts'
import { connectSync, SyncCaller } from '../../src/replication/sync/client.ts'
import { SyncListener, SyncResponder } from '../../src/replication/sync/server.ts'
import type { SyncFailure, SyncStats } from '../../src/replication/sync/stats.ts'
import { HANDSHAKE_TIMEOUT_MS } from '../../src/replication/sync/tls.ts'
import { Keyring } from '../../src/wire/keyring.ts'
import { until } from '../support/latch.ts'
import { seededBytes } from '../support/seeded-random.ts'
import { SyncNode, TurningClock } from '../support/sync-node.ts'

const HOST = '127.0.0.1'
const random = seededBytes('sync attack')
const KEYRING = new Keyring([random(32)])
const SESSIONS = 50
/** Under which a connection counts that somebody in the middle changed. */
const KINDS = ['handshake', 'broken', 'malformed'] as const
const closing: (() => unknown)[] = []

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

interface Target {
  readonly node: SyncNode
  readonly stats: SyncStats
  readonly clock: TurningClock
  readonly address: HostAddress
  readonly listener: SyncListener
}

/** A node with sessions that answers peers over loopback. */
async function listen(): Promise<Target> {
  const clock = new TurningClock()
  const node = new SyncNode(clock, 1)
  for (let index = 0; index < SESSIONS; index += 1) node.put(`id ${index}`)
  const { stores, stats } = node
  const responder = new SyncResponder({
    stores,
    isComplete: () => true,
    summary: () => Buffer.from('{}'),
    trace: async () => Buffer.from('{}'),
    clock,
    stats,
  })
  const listener = new SyncListener({
    keys: { current: KEYRING },
    isPeer: () => true,
    serve: (stream) => responder.serve(stream),
    stats,
    clock,
    logger: silentLogger,
  })
  await listener.start({ host: HOST, port: 0 })
  closing.push(() => listener.stop())
  return { node, stats, clock, listener, address: { host: HOST, port: listener.port } }
}

/** Copies everything from there, as a node does that joins, and gives it what it has itself. */
async function exchange(address: HostAddress, own: SyncNode): Promise<void> {
  const stream = await connectSync(address, KEYRING, systemClock)
  const { stores, clock, stats } = own
  const caller = new SyncCaller({ stores, clock, random, stats }, stream)
  try {
    await caller.takeSnapshot()
    await caller.compare()
  } finally {
    stream.close()
  }
}

interface Proxy {
  readonly address: HostAddress
  /** What passed, by direction. */
  readonly recorded: { readonly toServer: Buffer[]; readonly toClient: Buffer[] }
}

type Direction = keyof Proxy['recorded']

/** Somebody in the middle: passes bytes on as `change` makes them, whose position is that in the stream. */
async function proxyTo(
  target: HostAddress,
  change: (bytes: Buffer, direction: Direction, position: number) => Buffer = (bytes) => bytes,
): Promise<Proxy> {
  const recorded: Proxy['recorded'] = { toServer: [], toClient: [] }
  const server = createServer((client) => {
    const upstream = connect(target.port, target.host)
    closing.push(
      () => client.destroy(),
      () => upstream.destroy(),
    )
    const pass = (from: Socket, to: Socket, direction: Direction) => {
      let position = 0
      from.on('data', (bytes) => {
        recorded[direction].push(bytes)
        to.write(change(Buffer.from(bytes), direction, position))
        position += bytes.length
      })
      from.on('error', () => {})
      from.on('close', () => to.destroy())
    }
    pass(client, upstream, 'toServer')
    pass(upstream, client, 'toClient')
  })
  return { address: await listenOnLoopback(server), recorded }
}

async function listenOnLoopback(server: Server): Promise<HostAddress> {
  server.listen(0, HOST)
  await once(server, 'listening')
  closing.push(() => server.close())
  return { host: HOST, port: (server.address() as AddressInfo).port }
}

/** Sends these bytes and nothing more; resolves with the number of bytes that came back until the end. */
async function shout(address: HostAddress, bytes: Uint8Array, isEnded: boolean): Promise<number> {
  const socket = connect(address.port, address.host)
  closing.push(() => socket.destroy())
  socket.on('error', () => {})
  socket.resume()
  // A reset is an end like another.
  const closed = new Promise((resolve) => socket.on('close', resolve))
  if (isEnded) socket.end(bytes)
  else socket.write(bytes)
  await closed
  return socket.bytesRead
}

/** A TLS client that is not a peer; resolves with the bytes it sent and those it was answered with. */
async function handshake(address: HostAddress, options: ConnectionOptions) {
  const raw = connect(address.port, address.host)
  const socket = connectTls({ socket: raw, rejectUnauthorized: false, ...options })
  closing.push(() => socket.destroy())
  socket.on('error', () => {})
  let isSecure = false
  socket.on('secureConnect', () => {
    isSecure = true
  })
  await new Promise((resolve) => socket.on('close', resolve))
  return { isSecure, sent: raw.bytesWritten, answered: raw.bytesRead }
}

const countOf = (stats: SyncStats, ...kinds: SyncFailure[]) =>
  kinds.reduce((sum, kind) => sum + stats.failures[kind], 0)

/** The whole traffic of one copy, by direction. */
async function recordExchange(target: Target): Promise<Record<Direction, Buffer>> {
  const own = new SyncNode(new TurningClock(), 2)
  const proxy = await proxyTo(target.address)
  await exchange(proxy.address, own)
  assert.equal(own.store.stats.items, SESSIONS)
  const { toServer, toClient } = proxy.recorded
  return { toServer: Buffer.concat(toServer), toClient: Buffer.concat(toClient) }
}

/** The first record. */
function clientHelloOf(bytes: Buffer): Buffer {
  return bytes.subarray(0, 5 + bytes.readUInt16BE(3))
}

test('a recorded connection played again gets no session and less than it sends', async () => {
  const target = await listen()
  const { toServer, toClient } = await recordExchange(target)
  const { entriesSent, entriesReceived } = target.stats
  for (const recording of [toServer, clientHelloOf(toServer)]) {
    const before = countOf(target.stats, 'handshake')
    const answered = await shout(target.address, recording, true)
    assert.ok(answered < recording.length, `${answered} bytes for ${recording.length}`)
    await until('it is counted', () => countOf(target.stats, 'handshake') === before + 1)
  }
  assert.equal(target.stats.entriesSent, entriesSent)
  assert.equal(target.stats.entriesReceived, entriesReceived)
  assert.equal(target.node.store.stats.items, SESSIONS)

  // And the other side of it, to a node that calls.
  const impostor = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => socket.write(toClient))
  })
  const own = new SyncNode(new TurningClock(), 3)
  await assert.rejects(exchange(await listenOnLoopback(impostor), own), { failure: 'handshake' })
  assert.equal(own.store.stats.items, 0)
})

test('a handshake cut off anywhere, by an end or by silence, is counted and leaves nothing', async () => {
  const target = await listen()
  const hello = clientHelloOf((await recordExchange(target)).toServer)
  const lengths = [1, 5, 6, 60, hello.length - 1, hello.length]
  for (const isEnded of [true, false]) {
    for (const length of lengths) {
      const before = countOf(target.stats, 'handshake')
      const answered = shout(target.address, hello.subarray(0, length), isEnded)
      if (!isEnded) {
        await until('it is waited for', () => target.listener.connectionCount === 1)
        target.clock.advance(HANDSHAKE_TIMEOUT_MS)
      }
      assert.ok((await answered) <= length, `${await answered} bytes for ${length}`)
      await until('it is counted', () => countOf(target.stats, 'handshake') === before + 1)
      await until('nothing is left', () => target.listener.connectionCount === 0)
    }
  }
  assert.equal(target.clock.pendingCount, 0)
})

test('a client that knows the key ID, which is in every datagram, but not the key, gets an alert', async () => {
  const target = await listen()
  const identity = KEYRING.primaryKeyId.toString(16).padStart(8, '0')
  const guess = { psk: random(32), identity }
  for (const [index, options] of [
    { pskCallback: () => guess, ciphers: 'TLS_AES_128_GCM_SHA256' },
    { pskCallback: () => ({ ...guess, identity: '00000000' }) },
    { pskCallback: () => ({ ...guess, identity: `${identity}0` }) },
    {},
    { maxVersion: 'TLSv1.2' as const },
  ].entries()) {
    const { isSecure, sent, answered } = await handshake(target.address, options)
    assert.equal(isSecure, false)
    assert.ok(answered < sent, `${answered} bytes for ${sent}`)
    await until('it is counted', () => countOf(target.stats, 'handshake') === index + 1)
  }
  assert.equal(target.stats.entriesSent, 0)
})

/** A byte in the middle of each TLS record: five bytes of header, the last two of them its length. */
function middlesOf(bytes: Buffer): number[] {
  const middles: number[] = []
  for (let start = 0; start + 5 < bytes.length; ) {
    const length = bytes.readUInt16BE(start + 3)
    middles.push(start + 5 + Math.floor(length / 2))
    start += 5 + length
  }
  return middles
}

test('a bit flipped in any record of a connection ends it; nothing altered is taken', async () => {
  const target = await listen()
  const whole = await recordExchange(target)
  target.node.put('more')
  for (const direction of ['toServer', 'toClient'] as const) {
    // A length made larger is a stall, which has tests of its own.
    for (const at of middlesOf(whole[direction])) {
      const own = new SyncNode(new TurningClock(), 2)
      own.put('altered on its way')
      const before = countOf(target.stats, ...KINDS)
      const proxy = await proxyTo(target.address, (bytes, passing, position) => {
        const index = at - position
        if (passing === direction && index >= 0 && index < bytes.length) {
          bytes.writeUInt8(bytes.readUInt8(index) ^ 0x10, index)
        }
        return bytes
      })
      await assert.rejects(
        exchange(proxy.address, own),
        { name: 'SyncError' },
        `${direction} ${at}`,
      )
      await until('nothing is left', () => target.listener.connectionCount === 0)
      for (const entry of own.contents.filter((line) => !line.startsWith('altered'))) {
        assert.ok(target.node.contents.includes(entry), 'an entry that the peer does not hold')
      }
      // What the client cannot read is its own to count, in `exchange`.
      if (direction === 'toClient') continue
      await until(`${at} is counted`, () => countOf(target.stats, ...KINDS) > before)
      assert.equal(target.node.sessionOf('altered on its way'), undefined)
    }
  }
})

test('a server that a node calls must prove the key as well, and in time', async () => {
  const clock = new TurningClock()
  const silent = createServer((socket) => {
    socket.on('error', () => {})
    closing.push(() => socket.destroy())
  })
  const call = (address: HostAddress, by: Clock) =>
    assert.rejects(connectSync(address, KEYRING, by), { failure: 'handshake' })
  const waiting = call(await listenOnLoopback(silent), clock)
  await until('it waits', () => clock.pendingCount === 1)
  clock.advance(HANDSHAKE_TIMEOUT_MS)
  await waiting
  for (const answer of ['', '1603', '15030300020228', '485454502f312e3120343030']) {
    const closes = createServer((socket) => {
      socket.on('error', () => {})
      socket.once('data', () => socket.end(Buffer.from(answer, 'hex')))
    })
    await call(await listenOnLoopback(closes), clock)
  }
  assert.equal(clock.pendingCount, 0)
})
