// The index: IDs that share a fingerprint are told apart, and a sharded index holds exactly its items.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { SessionIndex } from '../../src/store/session-index.ts'
import { SessionStore } from '../../src/store/session-store.ts'
import { Sharding } from '../../src/store/sharding.ts'
import { VersionClock } from '../../src/store/versions.ts'
import { FakeClock } from '../support/fake-clock.ts'

/** Gives every ID one of two fingerprints. */
class WeakSharding extends Sharding {
  override fingerprint(id: Uint8Array): number {
    return (id[0] ?? 0) & 1
  }
}

const ONE_SHARD = 100
const LARGE = 70_000

for (const items of [ONE_SHARD, LARGE]) {
  test(`IDs that share a fingerprint are kept apart, ${items} items`, () => {
    const step = fc.record({
      do: fc.constantFrom('claim', 'delete', 'use'),
      id: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80, size: 'max' }), (steps) => {
        const idOfSlot = new Map<number, string>()
        const model = new Map<string, number>()
        const index = new SessionIndex(new WeakSharding(items, Buffer.from('seed')), 0, {
          holdsId: (slot, id) => idOfSlot.get(slot) === Buffer.from(id).toString(),
          onLeave: (slot) => idOfSlot.delete(slot),
        })
        for (const one of steps) {
          const id = Buffer.from(one.id)
          if (one.do === 'claim') {
            if (model.has(one.id)) continue
            const slot = index.claim(id)
            assert.ok(slot < index.endSlot && !idOfSlot.has(slot))
            idOfSlot.set(slot, one.id)
            model.set(one.id, slot)
          } else if (one.do === 'delete') {
            index.delete(id)
            model.delete(one.id)
          } else {
            assert.equal(index.use(id), model.get(one.id))
          }
          assert.equal(index.size, model.size)
          assert.equal(idOfSlot.size, model.size)
          for (const name of 'abcdef') {
            assert.equal(index.find(Buffer.from(name)), model.get(name))
          }
        }
      }),
      { numRuns: items === LARGE ? 60 : 500 },
    )
  })
}

test('evicting goes on to the IDs that share a fingerprint when nothing else is left', () => {
  const left: number[] = []
  const index = new SessionIndex(new WeakSharding(ONE_SHARD, Buffer.from('seed')), 0, {
    holdsId: () => false,
    onLeave: (slot) => left.push(slot),
  })
  const claimed = [0, 1, 2].map((number) => index.claim(Uint8Array.of(0, number)))
  for (const _ of claimed) index.evictFor(Uint8Array.of(0, 9))
  assert.deepEqual(left, claimed)
  assert.equal(index.size, 0)
})

test('a store of more items than one shard takes holds exactly its items', () => {
  const items = LARGE
  const clock = new FakeClock()
  const store = new SessionStore(
    { name: 'ssl', items, keysize: 32, blocksize: 64, timeoutMs: 60_000, full: 'evict' },
    { clock, versions: new VersionClock(clock), origin: 1, seed: Buffer.from('seed') },
  )
  const id = Buffer.alloc(32)
  const context = Buffer.from('shop')
  const session = Buffer.from('session')
  for (let number = 0; number < items + 5000; number += 1) {
    id.writeUInt32LE(number)
    store.put({ id, context, serverName: '', session, ttlMs: 60_000 })
    assert.equal(store.stats.items, Math.min(number + 1, items))
  }
  assert.equal(store.stats.evicted, 5000)
  let found = 0
  for (let number = 0; number < items + 5000; number += 1) {
    id.writeUInt32LE(number)
    if (typeof store.get(id, context) !== 'string') found += 1
  }
  assert.equal(found, items)
})
