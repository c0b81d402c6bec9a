// Connections of peers over loopback: who is let in, and what those cost who are not.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { afterEach, test } from 'node:test'
import { zeros } from '../../src/base/counters.ts'
import { type Clock, silentLogger, systemClock } from '../../src/base/world.ts'
import { connectSync } from '../../src/replication/sync/client.ts'
import {
  MAX_CONNECTIONS,
  MAX_HANDSHAKES,
  MAX_HANDSHAKES_PER_ADDRESS,
  MAX_STRANGER_CONNECTIONS,
  SyncListener,
} from '../../src/replication/sync/server.ts'
import { SYNC_COUNTERS } from '../../src/replication/sync/stats.ts'
import { Keyring, publicKeyring } from '../../src/wire/keyring.ts'
import { encodeSyncFrame } from '../../src/wire/sync-message.ts'
import { until } from '../support/latch.ts'
import { seededBytes } from '../support/seeded-random.ts'
import { SyncNode, TurningClock } from '../support/sync-node.ts'

const random = seededBytes('sync keys')
const [oldKey, newKey, foreignKey] = [random(32), random(32), random(32)]
const listeners: SyncListener[] = []
const sockets: Socket[] = []

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy()
  await Promise.all(listeners.splice(0).map((listener) => listener.stop()))
})

async function listen(keyring: Keyring, clock: Clock = systemClock) {
  const stats = zeros(SYNC_COUNTERS)
  const strangers = new Set<string>()
  const node = new SyncNode(new TurningClock(), 1)
  node.put('x')
  const listener = new SyncListener({
    keys: { current: keyring },
    serve: async (stream) => {
      for (let frame = await stream.receive(); frame; frame = await stream.receive()) {
        await stream.send(encodeSyncFrame({ kind: 'end', isComplete: true }))
      }
    },
    // Most tests call as a peer does, from 127.0.0.1.
    isPeer: (host) => host === '127.0.0.1' && !strangers.has(host),
    stats,
    clock,
    logger: silentLogger,
  })
  listeners.push(listener)
  await listener.start({ host: '127.0.0.1', port: 0 })
  return { listener, stats, strangers, address: { host: '127.0.0.1', port: listener.port } }
}

async function isServed(address: { host: string; port: number }, keyring: Keyring) {
  const stream = await connectSync(address, keyring, systemClock)
  await stream.send(encodeSyncFrame({ kind: 'applied_request' }))
  const answer = await stream.receive()
  stream.close()
  return answer?.kind === 'end'
}

async function open(port: number, from = '127.0.0.1'): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', localAddress: from })
  socket.on('error', () => {})
  sockets.push(socket)
  await once(socket, 'connect')
  return socket
}

test('every key of the ring opens, whichever is first, and so does the public one', async () => {
  const both = await listen(new Keyring([newKey, oldKey]))
  assert.ok(await isServed(both.address, new Keyring([oldKey])))
  assert.ok(await isServed(both.address, new Keyring([newKey])))
  const open = await listen(publicKeyring())
  assert.ok(await isServed(open.address, publicKeyring()))
})

test('another cluster’s key is refused and counted', async () => {
  const { address, stats } = await listen(new Keyring([newKey]))
  for (const keyring of [new Keyring([foreignKey]), publicKeyring()]) {
    await assert.rejects(connectSync(address, keyring, systemClock), { failure: 'handshake' })
  }
  await until('both were counted', () => stats.failures.handshake === 2)
  assert.ok(await isServed(address, new Keyring([newKey])))
})

test('a call that nobody answers can be broken off', async () => {
  const mute = createServer()
  mute.listen(0, '127.0.0.1')
  await once(mute, 'listening')
  const { port } = mute.address() as AddressInfo
  const accepted = once(mute, 'connection')
  const stopping = new AbortController()
  const call = connectSync(
    { host: '127.0.0.1', port },
    new Keyring([newKey]),
    new TurningClock(),
    stopping.signal,
  )
  const [socket] = await accepted
  const closed = once(socket, 'close')
  socket.resume()
  stopping.abort()
  await assert.rejects(call, { failure: 'handshake' })
  await closed
  mute.close()
})

test('a handshake that is cut off, or is none, is counted and leaves nothing behind', async () => {
  const { listener, stats, address } = await listen(new Keyring([newKey]))
  const closing = await open(address.port)
  closing.end(Buffer.from('16030100', 'hex'))
  const talking = await open(address.port)
  talking.write('GET / HTTP/1.1\r\n\r\n')
  await until('both were counted', () => stats.failures.handshake === 2)
  await until('nothing is left', () => listener.connectionCount === 0)
})

test('two thousand half-open connections lock nobody out and stay bounded', async () => {
  // On a clock that stands still: on a slow machine some would otherwise be too slow, not too many.
  const { listener, stats, address } = await listen(new Keyring([newKey]), new TurningClock())
  for (let batch = 0; batch < 20; batch += 1) {
    await Promise.all(Array.from({ length: 100 }, () => open(address.port)))
    assert.ok(listener.connectionCount <= MAX_HANDSHAKES + MAX_CONNECTIONS)
  }
  assert.ok(await isServed(address, new Keyring([newKey])))
  await until('the oldest gave way', () => stats.failures.flood >= 2000 - MAX_HANDSHAKES)
  assert.ok(listener.connectionCount <= MAX_HANDSHAKES + MAX_CONNECTIONS)
})

test('more peers than are served at once are turned away and counted', async () => {
  const { stats, address } = await listen(new Keyring([newKey]))
  const streams = await Promise.all(
    Array.from({ length: MAX_CONNECTIONS + 3 }, () =>
      connectSync(address, new Keyring([newKey]), systemClock),
    ),
  )
  await until('three were counted', () => stats.failures.busy === 3)
  for (const stream of streams) stream.close()
})

const STRANGER = '127.0.0.2'
const OTHER_STRANGER = '127.0.0.3'

test('a flood from one stranger cuts off the handshake of no peer and of no other stranger', async () => {
  // On a clock that stands still: what begins and says nothing ends by the flood only.
  const { stats, address } = await listen(new Keyring([newKey]), new TurningClock())
  const peer = await open(address.port)
  const other = await open(address.port, OTHER_STRANGER)
  for (let batch = 0; batch < 5; batch += 1) {
    await Promise.all(Array.from({ length: 100 }, () => open(address.port, STRANGER)))
  }
  await until('the oldest gave way', () => stats.failures.flood >= 200)
  let closed = 0
  for (const socket of [peer, other]) {
    socket.on('close', () => {
      closed += 1
    })
    socket.resume()
  }
  assert.ok(await isServed(address, new Keyring([newKey])))
  assert.equal(closed, 0)
  assert.equal(stats.failures.flood, 500 - MAX_HANDSHAKES_PER_ADDRESS)
})

test('strangers from many addresses take no slot of a peer', async () => {
  const { stats, address } = await listen(new Keyring([newKey]), new TurningClock())
  const peer = await open(address.port)
  const closed = { count: 0 }
  peer.on('close', () => {
    closed.count += 1
  })
  peer.resume()
  for (let batch = 0; batch < 10; batch += 1) {
    const opened = Array.from({ length: 50 }, () => open(address.port, `127.0.1.${batch + 1}`))
    await Promise.all(opened)
  }
  await until('the oldest gave way', () => stats.failures.flood >= 200)
  assert.ok(await isServed(address, new Keyring([newKey])))
  assert.equal(closed.count, 0)
})

test('strangers that finish their handshake, where there are no keys, take no slot of a peer', async () => {
  const { stats, address, strangers } = await listen(publicKeyring())
  strangers.add('127.0.0.1')
  const streams = await Promise.all(
    Array.from({ length: MAX_STRANGER_CONNECTIONS + 3 }, () =>
      connectSync(address, publicKeyring(), systemClock),
    ),
  )
  await until('three were counted', () => stats.failures.busy === 3)
  strangers.delete('127.0.0.1')
  assert.ok(await isServed(address, publicKeyring()))
  for (const stream of streams) stream.close()
})
