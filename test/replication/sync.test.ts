// Copying and comparing stores, in memory: both sides of the protocol, and what ends a connection.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SyncError } from '../../src/replication/sync/stats.ts'
import { STALL_TIMEOUT_MS } from '../../src/replication/sync/stream.ts'
import { encodeSyncFrame, MAX_FRAME_BYTES } from '../../src/wire/sync-message.ts'
import { duplexPair } from '../support/duplex-pair.ts'
import { SyncNode, TurningClock } from '../support/sync-node.ts'

function pair(items?: number): [SyncNode, SyncNode, TurningClock] {
  const clock = new TurningClock()
  return [new SyncNode(clock, 1, items), new SyncNode(clock, 2, items), clock]
}

const compare = (from: SyncNode, to: SyncNode) => from.call(to, (caller) => caller.compare())
const copy = (from: SyncNode, to: SyncNode) => from.call(to, (caller) => caller.takeSnapshot())

test('a snapshot carries sessions, removals, versions and what is left of the lifetime', async () => {
  const [a, b, clock] = pair()
  for (let index = 0; index < 1000; index += 1) a.put(`id ${index}`)
  a.remove('id 7')
  clock.advance(100_000)
  assert.equal(await copy(b, a), true)
  assert.deepEqual(b.contents, a.contents)
  assert.equal(b.store.stats.items, 999)
  assert.equal(b.store.contextless.peek(Buffer.from('id 8'))?.ttlMs, 200_000)
  assert.equal(b.sessionOf('id 7'), undefined)
})

test('a snapshot of a node that is joining itself is not taken for a full one', async () => {
  const [a, b] = pair()
  a.put('x')
  a.isComplete = false
  assert.equal(await copy(b, a), false)
  assert.equal(b.sessionOf('x'), 'session of x')
})

test('the sessions that live longest come first', async () => {
  const [a, b, clock] = pair(10)
  const small = new SyncNode(clock, 3, 4)
  for (let index = 0; index < 10; index += 1) {
    a.put(`id ${index}`)
    clock.advance(1000)
  }
  await copy(small, a)
  assert.deepEqual(
    small.contents.map((line) => line.slice(0, 4)),
    ['id 6', 'id 7', 'id 8', 'id 9'],
  )
  assert.equal(b.store.stats.items, 0)
})

test('a comparison moves only what differs, in both directions', async () => {
  const [a, b] = pair()
  for (let index = 0; index < 500; index += 1) a.put(`id ${index}`)
  await copy(b, a)
  const before = a.stats.entriesSent
  a.put('only a')
  b.put('only b')
  a.put('id 3', 'newer on a')
  b.put('id 4', 'newer on b')
  b.remove('id 5')
  await compare(b, a)
  assert.deepEqual(a.contents, b.contents)
  assert.equal(a.sessionOf('only b'), 'session of only b')
  assert.equal(b.sessionOf('id 3'), 'newer on a')
  assert.equal(a.sessionOf('id 4'), 'newer on b')
  assert.equal(a.sessionOf('id 5'), undefined)
  assert.equal(a.stats.entriesSent - before, 2)
  assert.equal(a.stats.entriesReceived, 3)
})

test('equal stores exchange digests and nothing else', async () => {
  const [a, b] = pair()
  for (let index = 0; index < 100; index += 1) a.put(`id ${index}`)
  await copy(b, a)
  assert.deepEqual(a.store.entries.digest.differingBuckets(b.store.entries.digest.toBytes()), [])
  const before = a.stats.entriesSent + a.stats.entriesReceived
  await compare(b, a)
  assert.equal(a.stats.entriesSent + a.stats.entriesReceived, before)
})

test('what was removed while a node was away stays removed', async () => {
  const [a, b] = pair()
  a.put('x')
  await copy(b, a)
  a.remove('x')
  await compare(a, b)
  assert.equal(b.sessionOf('x'), undefined)
  await compare(b, a)
  assert.equal(a.sessionOf('x'), undefined)
})

test('full caches do not push out each other’s sessions', async () => {
  const [a, b] = pair(100)
  for (let index = 0; index < 100; index += 1) {
    a.put(`a ${index}`)
    b.put(`b ${index}`)
  }
  const [before, beforeB] = [a.contents, b.contents]
  for (let round = 0; round < 5; round += 1) await compare(a, b)
  assert.deepEqual([a.contents, b.contents], [before, beforeB])
  assert.equal(a.store.stats.evicted + b.store.stats.evicted, 0)
  assert.equal(a.stats.entriesSent + b.stats.entriesSent, 0)
})

test('an entry that is about to expire is not sent back and forth', async () => {
  const [a, b, clock] = pair()
  a.put('x')
  clock.advance(299_500)
  await compare(b, a)
  assert.equal(b.store.stats.items, 0)
})

const framed = (body: Buffer) => {
  const head = Buffer.alloc(4)
  head.writeUInt32BE(body.length)
  return Buffer.concat([head, body])
}

for (const [what, bytes, failure] of [
  ['a length of zero', Buffer.alloc(4), 'malformed'],
  ['a length above the limit', Buffer.from([0, 255, 255, 255]), 'malformed'],
  ['bytes that are no protobuf', framed(Buffer.from([0xff, 0xff])), 'malformed'],
  [
    'an empty cache name',
    framed(encodeSyncFrame({ kind: 'digest_request', cache: '' })),
    'malformed',
  ],
  ['an answer to nothing', framed(encodeSyncFrame({ kind: 'end', isComplete: true })), 'malformed'],
  ['an end within a length', Buffer.from([0, 0]), 'broken'],
  ['an end within a frame', Buffer.from([0, 0, 0, 9, 1]), 'broken'],
] as const) {
  test(`${what} ends the connection as ${failure}`, async () => {
    const [a] = pair()
    const [near, far] = duplexPair()
    near.resume()
    near.end(bytes)
    await assert.rejects(a.serve(far), (error) => {
      assert.ok(error instanceof SyncError)
      assert.equal(error.failure, failure)
      return true
    })
    far.destroy()
  })
}

test('a peer that falls silent, or does not read, is cut off', async () => {
  const [a, , clock] = pair()
  for (let index = 0; index < 5000; index += 1) a.put(`id ${index}`, 'x'.repeat(500))
  const turn = () => new Promise((resolve) => setImmediate(resolve))
  for (const request of [
    Buffer.from([0, 0]),
    framed(encodeSyncFrame({ kind: 'snapshot_request', cache: 'ssl' })),
  ]) {
    const [near, far] = duplexPair()
    near.write(request)
    const served = assert.rejects(a.serve(far), { name: 'SyncError', failure: 'stalled' })
    for (let turns = 0; turns < 20; turns += 1) await turn()
    clock.advance(STALL_TIMEOUT_MS)
    await served
    assert.ok(far.writableLength <= MAX_FRAME_BYTES)
    far.destroy()
    near.destroy()
  }
})
