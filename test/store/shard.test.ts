// The shard's check of lru-cache: it passes with the installed one, and names the package when something inside it is
// gone or works in another way.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { LRUCache } from 'lru-cache'
import { checkLruCache, Shard } from '../../src/store/shard.ts'
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
  assert.throws(() => new Shard(0, 3, () => {}), TypeError)
  assert.throws(checkLruCache, { code: 'ERR_INTERNAL' })
})
