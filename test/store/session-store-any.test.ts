// What the store offers to protocols that know no session ID context.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Change } from '../../src/store/versions.ts'
import { createCacheFixture } from '../support/cache-fixture.ts'

const shop = Buffer.from('shop')
const idOf = (number: number) => Buffer.alloc(32, number)

function setup(items = 10) {
  const cache = createCacheFixture({ items })
  const put = (number: number, ttlMs = 60_000) =>
    cache.store.put({
      id: idOf(number),
      context: shop,
      serverName: 'shop.example',
      session: Buffer.from(`session ${number}`),
      ttlMs,
    })
  return { ...cache, put }
}

test('getAny gives a session whatever its context, and counts as get does', () => {
  const { store, clock, put } = setup()
  put(1)
  clock.advance(10_000)
  const found = store.contextless.get(idOf(1))
  assert.ok(typeof found !== 'string')
  assert.deepEqual(found.session, Buffer.from('session 1'))
  assert.equal(found.ttlMs, 50_000)
  assert.deepEqual(found.version, store.contextless.versionOf(idOf(1)))
  assert.equal(store.contextless.get(idOf(2)), 'miss')
  clock.advance(50_000)
  assert.equal(store.contextless.versionOf(idOf(1)), undefined)
  assert.equal(store.contextless.get(idOf(1)), 'expired')
  assert.equal(store.stats.items, 0)
  assert.deepEqual(store.stats.gets, { hit: 1, miss: 1, expired: 1, context_mismatch: 0 })
})

test('what getAny gives is a view, and stays as it is once it is detached', () => {
  const { store, put } = setup()
  put(1)
  const found = store.contextless.get(idOf(1))
  assert.ok(typeof found !== 'string')
  const version = store.contextless.versionOf(idOf(1))
  const own = found.detached()
  const other = found.detached(Buffer.from('other'))
  store.remove(idOf(1), shop)
  assert.deepEqual(
    [own.session, own.version, own.ttlMs],
    [Buffer.from('session 1'), version, 60_000],
  )
  assert.deepEqual(
    [other.session, other.version, other.ttlMs],
    [Buffer.from('other'), version, 60_000],
  )
  assert.notDeepEqual(found.session, own.session)
})

test('getAny makes a session the most recently used, versionOf does not', () => {
  const { store, put } = setup(2)
  put(1)
  put(2)
  store.contextless.get(idOf(1))
  store.contextless.versionOf(idOf(2))
  put(3)
  assert.equal(store.contextless.versionOf(idOf(2)), undefined)
  assert.notEqual(store.contextless.versionOf(idOf(1)), undefined)
})

test('a version changes with every put', () => {
  const { store, put } = setup()
  put(1)
  const first = store.contextless.versionOf(idOf(1))
  put(1)
  assert.notDeepEqual(store.contextless.versionOf(idOf(1)), first)
})

test('the oldest ones are found in order, with what their removal needs', () => {
  const { store, put } = setup()
  const changes: Change[] = []
  for (const number of [1, 2, 3]) put(number)
  store.contextless.get(idOf(1))
  store.onChange = (change) => changes.push({ ...change, id: Buffer.from(change.id) })
  for (let oldest = store.contextless.oldest(); oldest; oldest = store.contextless.oldest()) {
    store.remove(oldest.id, oldest.context)
  }
  assert.deepEqual(
    changes.map(({ kind, id }) => [kind, id[0]]),
    [
      ['remove', 2],
      ['remove', 3],
      ['remove', 1],
    ],
  )
  assert.deepEqual([store.stats.items, store.stats.removes, store.stats.tombstones], [0, 3, 3])
})
