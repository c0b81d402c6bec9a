// The hooks as protocols use them that know no session ID context.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createCacheFixture } from '../support/cache-fixture.ts'
import { encodeSession } from '../support/session-encoder.ts'

const shop = Buffer.from('shop')
const id = Buffer.alloc(32, 7)
const TLS_1_3 = 0x0304

function setup(singleUse = false) {
  const cache = createCacheFixture({ timeoutMs: 86_400_000 }, singleUse)
  const timeSec = cache.clock.wallMs() / 1000
  const encode = (fields = {}) =>
    encodeSession({ id, context: shop, timeSec, timeoutSec: 300, ...fields })
  return { ...cache, encode }
}

test('a get without a context is measured, a peek is neither counted nor measured', () => {
  const { hooks, store, encode } = setup()
  hooks.putOwn(id, encode())
  assert.deepEqual(hooks.peekAny(id)?.session, encode())
  assert.deepEqual([store.stats.gets.hit, hooks.stats.getDurations.count], [0, 0])
  assert.deepEqual(hooks.getAny(id)?.session, encode())
  assert.deepEqual([store.stats.gets.hit, hooks.stats.getDurations.count], [1, 1])
  assert.deepEqual(hooks.getAny(id)?.version, hooks.versionOf(id))
})

test('gets that are answered together are measured together, each as long as all, even when one fails', () => {
  const { hooks, clock, encode } = setup()
  const { getDurations } = hooks.stats
  hooks.putOwn(id, encode())
  hooks.together((nowMs) => {
    assert.equal(nowMs, clock.monotonicMs())
    assert.deepEqual(hooks.getAny(id)?.session, encode())
    clock.advance(3)
    assert.equal(hooks.getAny(Buffer.from('none')), undefined)
  })
  assert.deepEqual([getDurations.count, getDurations.sumSec], [2, 0.006])
  const failing = () =>
    hooks.together(() => {
      hooks.getAny(id)
      throw new Error('a member failed')
    })
  assert.throws(failing, /a member failed/)
  assert.equal(getDurations.count, 3)
  // By itself again, at the time it is now.
  clock.advance(301_000)
  assert.equal(hooks.getAny(id), undefined)
  assert.equal(getDurations.count, 4)
})

test('for single use, a get consumes a session of TLS 1.3 and only that; a peek never does', () => {
  const { hooks, encode } = setup(true)
  hooks.putOwn(id, encode())
  hooks.getAny(id)
  assert.notEqual(hooks.getAny(id), undefined)
  hooks.removeAny(id)
  const session = encode({ protocolVersion: TLS_1_3 })
  hooks.putOwn(id, session)
  hooks.peekAny(id)
  assert.deepEqual(hooks.getAny(id)?.session, session)
  assert.equal(hooks.getAny(id), undefined)
})

test('a touch keeps context and server name, and stays within the session’s own lifetime', () => {
  const { hooks, encode } = setup()
  hooks.put({ context: shop, id, session: encode(), ttlMs: 1000, serverName: 'shop.example' })
  assert.equal(hooks.touchAny(id, 100_000), 'replaced')
  assert.equal(hooks.get(shop, id, 'shop.example')?.ttlMs, 100_000)
  assert.equal(hooks.touchAny(id), 'replaced')
  assert.equal(hooks.get(shop, id, 'shop.example')?.ttlMs, 300_000)
  assert.equal(hooks.get(shop, id, 'bank.example'), undefined)
  assert.equal(hooks.touchAny(Buffer.alloc(32, 8)), undefined)
})

test('a touch of opaque bytes is bound by the cache only', () => {
  const { hooks } = setup()
  hooks.put({ context: shop, id, session: Buffer.from('opaque'), ttlMs: 1000 })
  assert.equal(hooks.touchAny(id), 'replaced')
  assert.equal(hooks.get(shop, id)?.ttlMs, 86_400_000)
})

test('a frontend’s own refusal is counted', () => {
  const { hooks, store } = setup()
  assert.equal(hooks.refuse('blocksize', { sessionBytes: 5000 }), 'blocksize')
  assert.equal(store.stats.puts.blocksize, 1)
})
