// The digest of a store: the same for the same content, whatever led to it.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { bucketOf, Digest, EntryHash } from '../../src/store/digest.ts'
import { SyncNode, TurningClock } from '../support/sync-node.ts'

test('a digest is that of its entries, through evictions, expiry, replacements and removals', () => {
  const step = fc.record({
    id: fc.nat(15),
    kind: fc.constantFrom('put', 'remove', 'wait'),
    waitMs: fc.nat(200_000),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const clock = new TurningClock()
      const node = new SyncNode(clock, 1, 8)
      const copy = new SyncNode(clock, 2, 100)
      for (const { id, kind, waitMs } of steps) {
        if (kind === 'put') node.put(`id ${id}`)
        else if (kind === 'remove') node.remove(`id ${id}`)
        else clock.advance(waitMs)
      }
      // Buckets are swept as a whole: afterwards nothing is left that is over.
      clock.advance(250)
      while (node.store.sweepOne()) {}
      const { entries } = node.store
      const slots = [...entries.slots()].reverse()
      for (const slot of slots) {
        const change = entries.changeAt(slot)
        if (change !== undefined) copy.store.apply(change)
      }
      const isAllTold = slots.every((slot) => entries.changeAt(slot) !== undefined)
      const differing = entries.digest.differingBuckets(copy.store.entries.digest.toBytes())
      if (isAllTold) assert.deepEqual(differing, [])
      assert.equal(slots.length, node.store.stats.items + node.store.stats.tombstones)
    }),
  )
})

test('ID, clock, origin and kind all count, each in the whole of its range', () => {
  const bytes = Buffer.from('0123456789abcdef0123456789abcdef', 'hex')
  const seen = new Set<string>()
  for (const [id, clock, origin, isTombstone] of [
    [bytes, 5, 7, false],
    [bytes, 5, 7, true],
    [bytes, 6, 7, false],
    [bytes, 2 ** 40 + 5, 7, false],
    [bytes, 5, 8, false],
    [bytes, 5, 2 ** 40 + 7, false],
    [bytes.subarray(1), 5, 7, false],
  ] as const) {
    const hash = new EntryHash()
    hash.compute(id, 0, id.length, clock, origin, isTombstone)
    seen.add(`${hash.low} ${hash.high}`)
  }
  assert.equal(seen.size, 7)
})

test('the hash is what the protocol says', () => {
  const hash = new EntryHash()
  const id = Buffer.from('session')
  hash.compute(Buffer.concat([Buffer.from('..'), id]), 2, id.length, 2 ** 45 + 3, 2 ** 47 + 1, true)
  assert.deepEqual({ ...hash }, reference(id, 2n ** 45n + 3n, 2n ** 47n + 1n, true))
  const digest = new Digest()
  digest.toggle(hash)
  assert.deepEqual(digest.differingBuckets(new Digest().toBytes()), [hash.bucket])
  digest.toggle(hash)
  assert.deepEqual(digest.toBytes(), new Digest().toBytes())
})

test('what one node changes in a moment lies in one bucket, whatever its clock', () => {
  const ticksPerMs = 4096
  const buckets = (startMs: number, changes: number, perMs: number, origin = 1) => {
    const clockOf = (change: number) =>
      Math.floor(startMs + change / perMs) * ticksPerMs + (change % perMs)
    return new Set(
      Array.from({ length: changes }, (_, change) => bucketOf(clockOf(change), origin)),
    )
  }
  assert.equal(buckets(16 * 1000, 1600, 100).size, 1)
  // Wherever the moment begins, for it may reach into the next one.
  assert.ok(buckets(16 * 1000 + 9, 1600, 100).size <= 2)
  // A clock that lags behind others counts from the last reading on.
  assert.equal(new Set(Array.from({ length: 65_536 }, (_, n) => bucketOf(2 ** 40 + n, 1))).size, 1)
  // Each node and each moment has its own: a thousand moments fill most of the buckets.
  const spread = buckets(0, 16_000, 1)
  assert.ok(spread.size > 600, `${spread.size}`)
  const nodes = Array.from({ length: 1000 }, (_, origin) =>
    bucketOf(2 ** 40, origin * 2 ** 16 + origin),
  )
  assert.ok(new Set(nodes).size > 600)
})

/** PROTOCOL.md, section 7, in whole numbers of any size. */
function reference(id: Buffer, clock: bigint, origin: bigint, isRemoved: boolean) {
  const cut = (value: bigint) => value & 0xffffffffn
  const mix = (word: bigint) => {
    let value = cut(word)
    value = cut((value ^ (value >> 16n)) * 0x85ebca6bn)
    value = cut((value ^ (value >> 13n)) * 0xc2b2ae35n)
    return value ^ (value >> 16n)
  }
  let [low, high] = [0x811c9dc5n, 0x9747b28cn]
  for (const byte of id) {
    low = cut((low ^ BigInt(byte)) * 0x01000193n)
    high = cut((high ^ BigInt(byte)) * 0x5bd1e995n)
  }
  const bucket = Number(mix((clock >> 16n) ^ origin) % 1024n)
  low = mix(mix(low) ^ cut(clock))
  high = mix(high ^ (clock >> 32n))
  low = mix(low ^ (origin >> 32n))
  high = mix(high ^ cut(origin))
  low = mix(low ^ high ^ (isRemoved ? 1n : 0n))
  high = mix(high + low)
  return { bucket, low: Number(low), high: Number(high) }
}
