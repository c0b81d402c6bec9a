// Nodes with different limits: each session lives no longer than the timeout of the cache it is in, and what a node
// refuses is not sent to it at every comparison.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { CacheLimits } from '../../src/store/limits.ts'
import { SyncNode, TurningClock } from '../support/sync-node.ts'

const CONTEXT = Buffer.from('shop.example')
const DIGEST_INTERVAL_MS = 30_000

function put(node: SyncNode, id: string, options: { bytes?: number; context?: Buffer } = {}): void {
  const { bytes = 20, context = CONTEXT } = options
  const session = Buffer.alloc(bytes, 7)
  const result = node.store.put({
    id: Buffer.from(id),
    context,
    serverName: '',
    session,
    ttlMs: 600_000,
  })
  assert.ok(result === 'stored' || result === 'replaced', result)
}

test('timeout is the longest lifetime on a node, whatever the timeout of its peer', async () => {
  const clock = new TurningClock()
  const short = new SyncNode(clock, 1, 100, { timeoutMs: 100_000 })
  const long = new SyncNode(clock, 2, 100, { timeoutMs: 600_000 })
  put(long, 'a')
  const [live] = long.changes
  assert.ok(live !== undefined)
  short.store.apply(live)
  let heldMs = 0
  for (; clock.monotonicMs() < 601_000; clock.advance(DIGEST_INTERVAL_MS)) {
    if (short.sessionOf('a') !== undefined) heldMs = clock.monotonicMs() - 1000
    while (short.store.sweepOne());
    await short.call(long, (caller) => caller.compare())
    await long.call(short, (caller) => caller.compare())
  }
  assert.ok(heldMs <= 100_000, `held for ${heldMs} ms`)
})

test('a copy of a copy keeps the age', async () => {
  const clock = new TurningClock()
  const [first, second] = [new SyncNode(clock, 1), new SyncNode(clock, 2)]
  const short = new SyncNode(clock, 3, 100, { timeoutMs: 100_000 })
  put(first, 'a')
  clock.advance(40_000)
  await second.call(first, (caller) => caller.takeSnapshot())
  clock.advance(30_000)
  await short.call(second, (caller) => caller.takeSnapshot())
  assert.equal(short.store.contextless.peek(Buffer.from('a'))?.ttlMs, 30_000)
})

const SMALL: Partial<CacheLimits> = {
  keysize: 8,
  blocksize: 100,
  timeoutMs: 300_000,
  contexts: [CONTEXT],
}

test('what a node refuses is not sent to it, at the first comparison and at every other one', async () => {
  const clock = new TurningClock()
  const large = new SyncNode(clock, 1)
  const small = new SyncNode(clock, 2, 10_000, SMALL)
  for (let number = 0; number < 50; number += 1) {
    put(large, `big ${number}`, { bytes: 101 })
    put(large, `a longer ID ${number}`)
    put(large, `else ${number}`, { context: Buffer.from('mail.example') })
    put(large, `ok ${number}`)
  }
  assert.equal(await small.call(large, (caller) => caller.takeSnapshot()), true)
  for (let round = 0; round < 5; round += 1) {
    await small.call(large, (caller) => caller.compare())
    await large.call(small, (caller) => caller.compare())
  }
  assert.equal(small.store.stats.items, 50)
  assert.equal(small.store.stats.applied.refused, 0)
  assert.equal(large.stats.entriesSent, 50)
  // The other limits let through what they should.
  assert.equal(small.stats.entriesSent, 0)
})

test('a node that refuses the newer session of an ID does not go on with the older one', () => {
  const clock = new TurningClock()
  const large = new SyncNode(clock, 1)
  const small = new SyncNode(clock, 2, 10_000, SMALL)
  put(large, 'a')
  put(large, 'b')
  put(large, 'a', { bytes: 101 })
  const results = large.changes.map((change) => small.store.apply(change))
  assert.deepEqual(results, ['applied', 'applied', 'refused'])
  assert.equal(small.sessionOf('a'), undefined)
  assert.notEqual(small.sessionOf('b'), undefined)
  assert.equal(small.store.stats.items, 1)
  assert.equal(small.store.stats.storedBytes, 20)
})

test('a node whose memory is full is not given more at every comparison, and nothing it holds gives way', async () => {
  const clock = new TurningClock()
  const large = new SyncNode(clock, 1, 20_000)
  const full = new SyncNode(clock, 2, 20_000, { memoryBytes: 16 * 1024 ** 2 })
  for (let number = 0; full.store.stats.evicted === 0; number += 1) {
    put(full, `its own ${number}`, { bytes: 2000 })
  }
  for (let number = 0; number < 5000; number += 1) put(large, `${number}`, { bytes: 2000 })
  for (let number = 0; number < 500; number += 1) large.remove(`gone ${number}`)
  const { items, evicted } = full.store.stats
  for (let round = 0; round < 5; round += 1) {
    await full.call(large, (caller) => caller.compare())
    await large.call(full, (caller) => caller.compare())
  }
  assert.equal(full.store.stats.evicted, evicted)
  assert.ok(full.store.stats.items >= items)
  assert.equal(large.stats.entriesSent, 0)
  // What is full on one side only is taken by the other one.
  assert.equal(large.store.stats.items, 5000 + items)
})

test('a node with room left in its memory gets what it lacks', async () => {
  const clock = new TurningClock()
  const large = new SyncNode(clock, 1, 20_000)
  const other = new SyncNode(clock, 2, 20_000, { memoryBytes: 16 * 1024 ** 2 })
  for (let number = 0; number < 2000; number += 1) put(large, `${number}`, { bytes: 2000 })
  for (let number = 0; number < 500; number += 1) large.remove(`gone ${number}`)
  await other.call(large, (caller) => caller.compare())
  assert.deepEqual(other.contents, large.contents)
  assert.equal(other.store.stats.applied.refused, 0)
})

test('a node with more contexts than can be told gets everything', async () => {
  const clock = new TurningClock()
  const contexts = Array.from({ length: 65 }, (_, number) => Buffer.from(`shop ${number}`))
  const large = new SyncNode(clock, 1)
  const many = new SyncNode(clock, 2, 100, { contexts })
  put(large, 'a', { context: Buffer.from('shop 64') })
  put(large, 'b')
  await many.call(large, (caller) => caller.takeSnapshot())
  assert.notEqual(many.sessionOf('a'), undefined)
  assert.equal(many.store.stats.applied.refused, 1)
})
