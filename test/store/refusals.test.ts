// Every refusal is counted by its reason. One a second of each cache is logged, with what an operator needs to end it.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { CacheLimits } from '../../src/store/limits.ts'
import { createCacheFixture } from '../support/cache-fixture.ts'
import { encodeSession } from '../support/session-encoder.ts'

const ID = Buffer.alloc(32, 0xab)
const CONTEXT = Buffer.from('shop.example')
const FACTS = { cache: 'ssl', contextHex: CONTEXT.toString('hex'), id: 'abababab..', heldBack: 0 }

function setUp(limits: Partial<CacheLimits> = {}) {
  const cache = createCacheFixture(limits)
  const { hooks, store, logger } = cache
  const put = (bytes: number, id = ID) =>
    hooks.put({ context: CONTEXT, id, session: Buffer.alloc(bytes, 1) })
  const apply = (bytes: number, ttlMs = 1000) => {
    const session = Buffer.alloc(bytes, 1)
    const version = { clock: 1, origin: 2 }
    const entry = { id: ID, context: CONTEXT, serverName: '', session, ttlMs }
    return store.apply({ kind: 'put', cache: 'ssl', ...entry, version })
  }
  const lastLine = () => {
    const { level, fields, message } = logger.lines.at(-1) ?? {}
    return { level, fields, message }
  }
  return { ...cache, put, apply, lastLine }
}

test("a caller's session that is too large is logged with size, limit and setting", () => {
  const { put, lastLine } = setUp({ blocksize: 4096 })
  assert.equal(put(5703), 'blocksize')
  const sizes = { sizeBytes: 5703, limitBytes: 4096, setting: 'blocksize' }
  assert.deepEqual(lastLine(), {
    level: 'warn',
    fields: { ...FACTS, from: 'caller', reason: 'blocksize', ...sizes },
    message: 'a session was refused: it has 5703 bytes, caches[].blocksize is 1..4096',
  })
})

test("a peer's is, too, and counted by its reason", () => {
  const { apply, store, lastLine } = setUp({ blocksize: 4096 })
  assert.equal(apply(4097), 'refused')
  const sizes = { sizeBytes: 4097, limitBytes: 4096, setting: 'blocksize' }
  assert.deepEqual(lastLine().fields, { ...FACTS, from: 'peer', reason: 'blocksize', ...sizes })
  assert.equal(store.stats.applied.refused, 1)
  assert.equal(store.stats.peerRefusals.blocksize, 1)
  assert.equal(store.stats.puts.blocksize, 0)
})

test('each reason of a peer has its counter', () => {
  const small = setUp({ keysize: 31, contexts: [Buffer.from('other')] })
  small.apply(1)
  assert.equal(small.store.stats.peerRefusals.keysize, 1)
  const strict = setUp({ contexts: [Buffer.from('other')] })
  strict.apply(1)
  assert.equal(strict.store.stats.peerRefusals.context, 1)
  const message =
    /^a session was refused: it belongs to another .+, or to none of caches\[\]\.contexts$/
  assert.match(strict.lastLine().message ?? '', message)
  const late = setUp()
  late.apply(1, 0)
  assert.equal(late.store.stats.peerRefusals.expired, 1)
  const full = setUp({ items: 1, full: 'refuse' })
  assert.equal(full.put(1, Buffer.alloc(32)), 'stored')
  full.apply(1)
  assert.equal(full.store.stats.peerRefusals.full, 1)
  assert.equal(full.lastLine().fields?.['limitItems'], 1)
})

test('a session of another context than its caller says, and one with early data, are logged', () => {
  const one = setUp()
  const other = encodeSession({ id: ID, context: Buffer.from('other') })
  assert.equal(one.hooks.put({ context: CONTEXT, id: ID, session: other }), 'context')
  assert.deepEqual(one.lastLine().fields, { ...FACTS, from: 'caller', reason: 'context' })
  const early = setUp()
  const session = encodeSession({ id: ID, context: CONTEXT, maxEarlyData: 1 })
  assert.equal(early.hooks.put({ context: CONTEXT, id: ID, session }), 'early_data')
  assert.deepEqual(early.lastLine().fields, { ...FACTS, from: 'caller', reason: 'early_data' })
})

test('one line a second for all refusals of a cache, which says how many it held back', () => {
  const { put, apply, logger, clock, lastLine } = setUp({ blocksize: 10 })
  for (let count = 0; count < 5; count += 1) put(11)
  apply(11)
  assert.equal(logger.lines.length, 1)
  clock.advance(1000)
  put(12)
  assert.equal(logger.lines.length, 2)
  assert.equal(lastLine().fields?.['heldBack'], 5)
})

test('a session that was taken leaves no line', () => {
  const { put, apply, logger } = setUp()
  assert.equal(put(4096), 'stored')
  assert.equal(apply(1), 'outdated')
  assert.deepEqual(logger.lines, [])
})
