// Announced gets: whatever is announced, the store answers and evicts as if nothing had been.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { SessionStore } from '../../src/store/session-store.ts'
import { createCacheFixture } from '../support/cache-fixture.ts'

const NO_CONTEXT = Buffer.alloc(0)

function idOf(number: number): Buffer {
  return Buffer.from(`id ${number}`)
}

function put(store: SessionStore, number: number, bytes: number): void {
  const session = Buffer.alloc(bytes, number)
  store.put({ id: idOf(number), context: NO_CONTEXT, serverName: '', session, ttlMs: 60_000 })
}

function announce(store: SessionStore, numbers: readonly number[]): void {
  for (const number of numbers) store.prefetch.add(idOf(number))
  store.prefetch.run()
}

/** Of each ID below `ids`, what is stored and in which order it will be evicted. */
function contentOf(store: SessionStore, ids: number): unknown {
  const sessions = Array.from({ length: ids }, (_, number) => store.peek(idOf(number))?.session)
  const order: string[] = []
  store.onChange = ({ id }) => order.push(id.toString())
  while (store.removeOldest());
  return { sessions, order }
}

const number = fc.integer({ min: 0, max: 40 })
const step = fc.oneof(
  fc.record({ kind: fc.constant('put' as const), number, bytes: fc.integer({ min: 1, max: 999 }) }),
  fc.record({ kind: fc.constant('get' as const), number }),
  fc.record({ kind: fc.constant('remove' as const), number }),
  fc.record({ kind: fc.constant('announce' as const), numbers: fc.array(number) }),
)

test('what is announced changes neither answers nor order nor counts', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const [store, plain] = [createCacheFixture({ items: 20 }), createCacheFixture({ items: 20 })]
      for (const one of steps) {
        if (one.kind === 'announce') announce(store.store, one.numbers)
        for (const { store: each } of [store, plain]) {
          if (one.kind === 'put') put(each, one.number, one.bytes)
          if (one.kind === 'get') each.getAny(idOf(one.number))
          if (one.kind === 'remove') each.remove(idOf(one.number), NO_CONTEXT)
        }
      }
      assert.deepEqual(store.store.stats, plain.store.stats)
      assert.deepEqual(contentOf(store.store, 41), contentOf(plain.store, 41))
    }),
  )
})

test('more may be announced than is fetched, and what is gone before it is fetched', () => {
  const { store } = createCacheFixture({ items: 2000 })
  for (let number = 0; number < 1000; number += 1) put(store, number, 130)
  for (let number = 0; number < 1000; number += 1) store.prefetch.add(idOf(number))
  while (store.removeOldest());
  store.prefetch.run()
  assert.equal(store.getAny(idOf(1)), 'miss')
  put(store, 1, 130)
  announce(store, [1])
  const found = store.getAny(idOf(1))
  assert.deepEqual(typeof found === 'string' ? found : found.session, Buffer.alloc(130, 1))
})
