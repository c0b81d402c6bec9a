// The shard's check of lru-cache: it passes with the installed one, and names the package when something inside it is
// gone or works in another way.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { LRUCache } from 'lru-cache'
import { checkLruCache, Shard } from '../../src/store/session-index.ts'
import { createCacheFixture } from '../support/cache-fixture.ts'

type Internals = ReturnType<typeof LRUCache.unsafeExposeInternals>

/** Until the test ends, lru-cache shows its internals changed by `change`. */
function changeInternals(t: TestContext, change: (internals: Internals) => Partial<Internals>) {
  const real = LRUCache.unsafeExposeInternals
  t.mock.method(LRUCache, 'unsafeExposeInternals', ((cache: never) =>
    change(real.call(LRUCache, cache) as unknown as Internals)) as typeof real)
}

/** The getters of the original stay what they are. */
function withOwn(internals: Internals, own: Partial<Internals>): Partial<Internals> {
  return Object.create(internals, Object.getOwnPropertyDescriptors(own))
}

test('the installed lru-cache passes', () => {
  checkLruCache()
})

const CHANGES: Record<string, (internals: Internals) => Partial<Internals>> = {
  'no internals': () => ({}),
  'keys in a copy': (internals) => withOwn(internals, { keyMap: new Map(internals.keyMap) }),
  'no order of use': (internals) => withOwn(internals, { moveToTail: () => {} }),
  'a tail that stands still': (internals) => withOwn(internals, { tail: 0 as never }),
}

for (const [what, change] of Object.entries(CHANGES)) {
  test(`a store does not begin upon an lru-cache with ${what}`, (t) => {
    changeInternals(t, change)
    assert.throws(() => createCacheFixture(), {
      code: 'ERR_INTERNAL',
      message:
        /^the installed lru-cache does not work inside as the store needs it \(.+\): install/,
    })
  })
}

test('an lru-cache without the method is named, too', (t) => {
  const real = LRUCache.unsafeExposeInternals
  t.after(() => Object.assign(LRUCache, { unsafeExposeInternals: real }))
  Object.assign(LRUCache, { unsafeExposeInternals: undefined })
  assert.throws(() => new Shard(0, 3, 1, () => {}), TypeError)
  assert.throws(checkLruCache, { code: 'ERR_INTERNAL' })
})

test('the last key that is deleted was not evicted, and its shard goes on as an empty one', () => {
  const left: string[] = []
  const shard = new Shard(10, 3, 100, (slot, isEvicted, key) => {
    left.push(`${key} ${slot} ${isEvicted}`)
  })
  for (const key of [1, 2]) shard.claim(key)
  for (const key of [1, 3, 2, 2]) shard.delete(key)
  assert.deepEqual(left, ['1 10 false', '2 11 false'])
  assert.equal(shard.size, 0)
  const slots = [3, 'four', 5].map((key) => shard.claim(key))
  assert.equal(new Set(slots).size, 3)
  assert.ok(slots.every((slot) => slot >= 10 && slot < 13))
  shard.evict()
  assert.equal(left.at(-1), `3 ${slots[0]} true`)
})
