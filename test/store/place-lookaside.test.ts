// The lookaside in front of a shard: it holds what the Map holds, or less, and never anything else.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { PlaceLookaside, Shard } from '../../src/store/session-index.ts'
import { Sharding } from '../../src/store/sharding.ts'

const MOST_KEYS = 2 ** 30
const MOST_PLACES = 2 ** 14 - 1
/** Sets of a lookaside for MOST_PLACES; a smaller lookaside has a divisor of this number. */
const SETS = 8192

test('what was put in last is found, also at the ends of what an entry can hold', () => {
  const lookaside = new PlaceLookaside(MOST_KEYS, MOST_PLACES)
  for (const key of [0, 1, SETS - 1, SETS, MOST_KEYS - 1]) {
    for (const place of [0, 1, MOST_PLACES - 1]) {
      assert.equal(lookaside.find(key), undefined)
      lookaside.add(key, place)
      assert.equal(lookaside.find(key), place)
      lookaside.delete(key)
    }
    lookaside.delete(key)
    assert.equal(lookaside.find(key), undefined)
  }
})

test('a set holds four keys, and the one that it has held longest gives way', () => {
  const lookaside = new PlaceLookaside(MOST_KEYS, MOST_PLACES)
  const keys = [0, 1, 2, 3, 4].map((number) => 77 + number * SETS)
  for (const [place, key] of keys.entries()) lookaside.add(key, place)
  assert.deepEqual(
    keys.map((key) => lookaside.find(key)),
    [undefined, 1, 2, 3, 4],
  )
})

test('an entry holds every key and place of every sharding', () => {
  const items = fc.oneof(
    fc.integer({ min: 1, max: 65_536 }),
    fc.integer({ min: 65_537, max: 50_000_000 }),
  )
  fc.assert(
    fc.property(items, (count) => {
      const { keys, itemsPerShard } = new Sharding(count, Buffer.from('seed'))
      const lookaside = new PlaceLookaside(keys, itemsPerShard)
      for (const key of [0, keys - 1]) {
        for (const place of [0, itemsPerShard - 1]) {
          lookaside.add(key, place)
          assert.equal(lookaside.find(key), place)
          lookaside.delete(key)
          assert.equal(lookaside.find(key), undefined)
        }
      }
    }),
  )
})

test('the shard and the key within it are the fingerprint again', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 5_000_000 }),
      fc.uint8Array({ maxLength: 40 }),
      (items, id) => {
        const sharding = new Sharding(items, Buffer.from('seed'))
        const fingerprint = sharding.fingerprint(id)
        const key = sharding.keyOf(fingerprint) >>> 0
        assert.ok(key < sharding.keys)
        assert.equal(key * sharding.count + sharding.shardOf(fingerprint), fingerprint >>> 0)
      },
    ),
  )
})

test('a shard answers as a Map does, however many keys share a set', () => {
  const step = fc.record({
    do: fc.constantFrom('claim', 'delete', 'use', 'evict'),
    // Twelve keys of two sets.
    key: fc.integer({ min: 0, max: 11 }).map((number) => (number & 1) + (number >>> 1) * SETS),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100, size: 'max' }), (steps) => {
      const model = new Map<number, number>()
      const left: number[] = []
      const shard = new Shard(1000, 8, MOST_KEYS, (slot) => left.push(slot))
      const touch = (key: number) => {
        const slot = model.get(key)
        if (slot === undefined) return
        model.delete(key)
        model.set(key, slot)
      }
      for (const one of steps) {
        if (one.do === 'claim' && !model.has(one.key) && model.size < 8) {
          model.set(one.key, shard.claim(one.key))
        } else if (one.do === 'delete') {
          shard.delete(one.key)
          model.delete(one.key)
        } else if (one.do === 'use') {
          assert.equal(shard.use(one.key), model.get(one.key))
          touch(one.key)
        } else if (one.do === 'evict') {
          const oldest = model.entries().next().value
          left.length = 0
          assert.equal(shard.evict(), oldest !== undefined)
          if (oldest !== undefined) model.delete(oldest[0])
          assert.deepEqual(left, oldest === undefined ? [] : [oldest[1]])
        }
        assert.equal(shard.size, model.size)
        for (let number = 0; number < 12; number += 1) {
          const key = (number & 1) + (number >>> 1) * SETS
          assert.equal(shard.find(key), model.get(key))
        }
      }
    }),
    { numRuns: 500 },
  )
})
