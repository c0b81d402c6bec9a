// The hooks on one cache: session ID context, server name, lifetime, early data, single use.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ContextlessHooks } from '../../src/hooks/contextless-hooks.ts'
import type { LocalHooks } from '../../src/hooks/local-hooks.ts'
import type { CacheLimits } from '../../src/store/limits.ts'
import { SessionStore } from '../../src/store/session-store.ts'
import type { PutResult } from '../../src/store/stats.ts'
import { VersionClock } from '../../src/store/versions.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { encodeSession, type SessionFields } from '../support/session-encoder.ts'

const DAY_SEC = 86_400
const shop = Buffer.from('shop')
const bank = Buffer.from('bank')
const none = Buffer.alloc(0)
const id = Buffer.alloc(32, 7)
const opaque = Buffer.from('a session of another library')

/**
 * Everything that hooks and a store show. The compiler refuses this file when there is more, or less: what protocols
 * without a session ID context need is in `ContextlessHooks` and `ContextlessReads`.
 */
const SHOWN = {
  hooks: { get: true, put: true, remove: true, stats: true } satisfies Record<
    keyof LocalHooks,
    true
  >,
  store: {
    ...{ get: true, put: true, remove: true, refuse: true, sweepOne: true },
    ...{ apply: true, onChange: true, entries: true, contextless: true },
    ...{ limits: true, stats: true, room: true },
  } satisfies Record<keyof SessionStore, true>,
}

interface SetupOptions {
  readonly singleUse?: boolean
  readonly limits?: Partial<CacheLimits>
}

function setup(options: SetupOptions = {}) {
  const clock = new FakeClock()
  const logger = new RecordingLogger()
  const limits: CacheLimits = {
    name: 'ssl',
    items: 10,
    keysize: 32,
    blocksize: 4096,
    timeoutMs: 7 * DAY_SEC * 1000,
    full: 'evict',
    ...options.limits,
  }
  const versions = new VersionClock(clock)
  const store = new SessionStore(limits, { clock, versions, origin: 1, seed: Buffer.from('seed') })
  const { singleUse = false } = options
  const hooks = new ContextlessHooks(store, { clock, logger, singleUse })
  const nowSec = clock.wallMs() / 1000
  const encode = (fields: SessionFields = {}) =>
    encodeSession({ id, context: shop, timeSec: nowSec, timeoutSec: 300, ...fields })
  return { clock, logger, store, hooks, nowSec, encode }
}

test('a session comes back under its context, as the bytes it was', () => {
  const { hooks, store, encode } = setup()
  assert.equal(hooks.put({ context: shop, id, session: encode() }), 'stored')
  assert.deepEqual(hooks.get(shop, id), { session: encode(), ttlMs: 300_000 })
  assert.equal(store.stats.gets.hit, 1)
  assert.equal(hooks.put({ context: shop, id, session: encode() }), 'replaced')
})

test('under another context it is a miss, counted and logged at most once a second', () => {
  const { clock, hooks, store, logger, encode } = setup()
  hooks.put({ context: shop, id, session: encode() })
  assert.equal(hooks.get(bank, id), undefined)
  assert.equal(hooks.get(none, id), undefined)
  clock.advance(1000)
  assert.equal(hooks.get(bank, id), undefined)
  assert.equal(store.stats.gets.context_mismatch, 3)
  assert.equal(store.stats.gets.hit, 0)
  assert.deepEqual(
    logger.lines.map((line) => [line.level, line.fields]),
    [
      ['warn', { cache: 'ssl', id: '07070707..', heldBack: 0 }],
      ['warn', { cache: 'ssl', id: '07070707..', heldBack: 1 }],
    ],
  )
})

test('the empty context matches only itself', () => {
  const { hooks, encode } = setup()
  assert.equal(hooks.put({ context: none, id, session: encode({ context: none }) }), 'stored')
  assert.equal(hooks.get(shop, id), undefined)
  assert.notEqual(hooks.get(none, id), undefined)
})

test('a context of more than 32 bytes is an error in every call', () => {
  const { hooks, store, encode } = setup()
  const tooLong = Buffer.alloc(33)
  const expected = { code: 'ERR_CONTEXT', message: /at most 32 bytes, this one has 33/ }
  assert.throws(() => hooks.get(tooLong, id), expected)
  assert.throws(() => hooks.put({ context: tooLong, id, session: encode() }), expected)
  assert.throws(() => hooks.remove(tooLong, id), expected)
  assert.equal(store.stats.items, 0)
})

test('another context can neither overwrite nor remove a session', () => {
  const { hooks, encode } = setup()
  hooks.put({ context: shop, id, session: encode() })
  assert.equal(hooks.put({ context: bank, id, session: encode({ context: bank }) }), 'context')
  assert.equal(hooks.put({ context: bank, id, session: opaque }), 'context')
  assert.equal(hooks.remove(bank, id), false)
  assert.deepEqual(hooks.get(shop, id)?.session, encode())
})

test('a removed session is gone', () => {
  const { hooks, encode } = setup()
  hooks.put({ context: shop, id, session: encode() })
  assert.equal(hooks.remove(shop, id), true)
  assert.equal(hooks.get(shop, id), undefined)
  assert.equal(hooks.remove(shop, id), false)
})

interface PutCase {
  readonly what: string
  readonly fields?: SessionFields
  readonly session?: Buffer
  readonly id?: Buffer
  readonly ttlMs?: number
  readonly serverName?: string
  readonly limits?: Partial<CacheLimits>
  readonly result: PutResult
}

const putCases: PutCase[] = [
  { what: 'made under another context', fields: { context: bank }, result: 'context' },
  { what: 'with another session ID', fields: { id: Buffer.alloc(32, 8) }, result: 'key_mismatch' },
  { what: 'without session ID of its own', fields: { id: none }, result: 'key_mismatch' },
  {
    what: 'of another server name',
    fields: { serverName: 'a.example' },
    serverName: 'b.example',
    result: 'context',
  },
  {
    what: 'of a server name, the client having sent none',
    fields: { serverName: 'a.example' },
    serverName: '',
    result: 'context',
  },
  {
    what: 'of a server name, the caller knowing none',
    fields: { serverName: 'a.example' },
    result: 'stored',
  },
  {
    what: 'of the same server name',
    fields: { serverName: 'a.example' },
    serverName: 'a.example',
    result: 'stored',
  },
  {
    what: 'without server name, the caller knowing one',
    serverName: 'a.example',
    result: 'stored',
  },
  {
    what: 'with a server name of 256 bytes',
    fields: { serverName: 'a'.repeat(256) },
    result: 'context',
  },
  {
    what: 'of a context that the cache does not take',
    limits: { contexts: [bank] },
    result: 'context',
  },
  {
    what: 'of a context that the cache takes',
    limits: { contexts: [bank, shop] },
    result: 'stored',
  },
  { what: 'that allows early data', fields: { maxEarlyData: 1 }, result: 'early_data' },
  { what: 'that is over', fields: { timeSec: 1_700_000_000 }, result: 'expired' },
  { what: 'with no lifetime asked for', ttlMs: 0, result: 'expired' },
  { what: 'with a negative lifetime asked for', ttlMs: -1, result: 'expired' },
  { what: 'with a lifetime that is no number', ttlMs: Number.NaN, result: 'expired' },
  { what: 'of 4097 bytes, encoded', fields: { serverName: 'a'.repeat(4000) }, result: 'blocksize' },
  { what: 'of 4097 bytes, opaque', session: Buffer.alloc(4097), result: 'blocksize' },
  { what: 'of no bytes', session: none, result: 'blocksize' },
  { what: 'under an ID of 33 bytes', id: Buffer.alloc(33), result: 'keysize' },
  { what: 'under an ID of no bytes', id: none, session: opaque, result: 'keysize' },
  { what: 'of another library', session: opaque, result: 'stored' },
]
for (const { what, result, ...given } of putCases) {
  test(`a session ${what}: ${result}`, () => {
    const { hooks, store, encode } = setup(
      given.limits === undefined ? {} : { limits: given.limits },
    )
    const session = given.session ?? encode(given.fields)
    const isStored = result === 'stored'
    const got = hooks.put({
      context: shop,
      id: given.id ?? id,
      session,
      ttlMs: given.ttlMs,
      serverName: given.serverName,
    })
    assert.equal(got, result)
    assert.equal(store.stats.puts[result], 1)
    assert.equal(store.stats.items, isStored ? 1 : 0)
    assert.deepEqual(hooks.get(shop, id)?.session, isStored ? session : undefined)
  })
}

test('a refused put leaves what is stored under that ID', () => {
  const { hooks, encode } = setup()
  hooks.put({ context: shop, id, session: encode() })
  assert.equal(hooks.put({ context: shop, id, session: encode({ maxEarlyData: 1 }) }), 'early_data')
  assert.equal(hooks.put({ context: shop, id, session: encode({ timeSec: 5 }) }), 'expired')
  assert.deepEqual(hooks.get(shop, id)?.session, encode())
})

interface LifetimeCase {
  readonly what: string
  readonly fields?: SessionFields
  readonly opaque?: boolean
  readonly timeoutMs?: number
  readonly askedMs?: number
  readonly ttlMs: number
}

const TLS_1_3 = 0x0304
const lifetimeCases: LifetimeCase[] = [
  { what: 'the session itself has left', ttlMs: 300_000 },
  { what: 'was asked for, when shorter', askedMs: 5000, ttlMs: 5000 },
  { what: 'the session has left, when shorter than asked', askedMs: 900_000, ttlMs: 300_000 },
  { what: 'the cache allows', timeoutMs: 60_000, ttlMs: 60_000 },
  { what: 'a day is, in TLS 1.2', fields: { timeoutSec: 9 * DAY_SEC }, ttlMs: DAY_SEC * 1000 },
  {
    what: 'a day is, in TLS 1.2 without own end',
    fields: { timeoutSec: 0 },
    ttlMs: DAY_SEC * 1000,
  },
  {
    what: 'seven days are, in TLS 1.3',
    fields: { protocolVersion: TLS_1_3, timeoutSec: 9 * DAY_SEC },
    ttlMs: 7 * DAY_SEC * 1000,
  },
  { what: 'was asked for, when opaque', opaque: true, askedMs: 7000, ttlMs: 7000 },
  { what: 'the cache allows, when opaque', opaque: true, timeoutMs: 60_000, ttlMs: 60_000 },
]
for (const { what, ttlMs, ...given } of lifetimeCases) {
  test(`a session lives as long as ${what}`, () => {
    const { timeoutMs = 7 * DAY_SEC * 1000 } = given
    const { clock, hooks, encode } = setup({ limits: { timeoutMs } })
    const session = given.opaque === true ? opaque : encode(given.fields)
    hooks.put({ context: shop, id, session, ttlMs: given.askedMs })
    assert.equal(hooks.get(shop, id)?.ttlMs, ttlMs)
    clock.advance(ttlMs - 1)
    assert.equal(hooks.get(shop, id)?.ttlMs, 1)
    clock.advance(1)
    assert.equal(hooks.get(shop, id), undefined)
  })
}

test('what the session has left is counted from when it was made', () => {
  const { clock, hooks, encode } = setup()
  const session = encode()
  clock.advance(100_000)
  hooks.put({ context: shop, id, session })
  assert.equal(hooks.get(shop, id)?.ttlMs, 200_000)
})

test('a session made under one server name is a miss under another', () => {
  const { hooks, store, encode } = setup()
  hooks.put({ context: shop, id, session: encode({ serverName: 'a.example' }) })
  assert.equal(hooks.get(shop, id, 'b.example'), undefined)
  assert.equal(hooks.get(shop, id, ''), undefined)
  assert.equal(store.stats.gets.context_mismatch, 2)
  assert.notEqual(hooks.get(shop, id, 'a.example'), undefined)
  assert.notEqual(hooks.get(shop, id), undefined)
})

test('the name the caller knew counts when the session has none', () => {
  const { hooks, encode } = setup()
  hooks.put({ context: shop, id, session: encode(), serverName: 'a.example' })
  assert.equal(hooks.get(shop, id, 'b.example'), undefined)
  assert.notEqual(hooks.get(shop, id, 'a.example'), undefined)
})

test('single use: a TLS 1.3 session is given once, one of TLS 1.2 again and again', () => {
  const { hooks, store, encode } = setup({ singleUse: true })
  const removed: string[] = []
  store.onChange = (change) => removed.push(change.kind)
  hooks.put({ context: shop, id, session: encode({ protocolVersion: TLS_1_3 }) })
  assert.equal(hooks.get(bank, id), undefined)
  assert.notEqual(hooks.get(shop, id), undefined)
  assert.equal(hooks.get(shop, id), undefined)
  assert.deepEqual(removed, ['put', 'remove'])

  const other = Buffer.alloc(32, 9)
  hooks.put({ context: shop, id: other, session: encode({ id: other }) })
  assert.notEqual(hooks.get(shop, other), undefined)
  assert.notEqual(hooks.get(shop, other), undefined)
})

test('without single use a TLS 1.3 session is given again and again', () => {
  const { hooks, encode } = setup()
  hooks.put({ context: shop, id, session: encode({ protocolVersion: TLS_1_3 }) })
  assert.notEqual(hooks.get(shop, id), undefined)
  assert.notEqual(hooks.get(shop, id), undefined)
})

test('without a context from the caller, the session brings its own', () => {
  const { hooks, encode } = setup()
  assert.equal(hooks.putOwn(id, encode()), 'stored')
  assert.deepEqual(hooks.getAny(id)?.session, encode())
  assert.deepEqual(hooks.get(shop, id)?.session, encode())
  assert.equal(hooks.get(none, id), undefined)
  assert.equal(hooks.putOwn(id, encode({ context: bank })), 'context')
  assert.equal(hooks.putOwn(id, opaque), 'context')
  assert.equal(hooks.removeAny(id), true)
  assert.equal(hooks.getAny(id), undefined)
  assert.equal(hooks.removeAny(id), false)
})

test('without a context from the caller, opaque bytes have the empty one', () => {
  const { hooks } = setup()
  assert.equal(hooks.putOwn(id, opaque, 5000), 'stored')
  assert.deepEqual(hooks.getAny(id)?.session, opaque)
  assert.notEqual(hooks.get(none, id), undefined)
  assert.equal(hooks.get(shop, id), undefined)
  assert.equal(hooks.removeAny(id), true)
})

test('without a context from the caller, the rules are the same', () => {
  const { hooks, encode } = setup({ limits: { contexts: [bank] } })
  assert.equal(hooks.putOwn(id, encode()), 'context')
  assert.equal(hooks.putOwn(id, encode({ context: bank, maxEarlyData: 1 })), 'early_data')
  assert.equal(
    hooks.putOwn(id, encode({ context: bank, id: Buffer.from('other') })),
    'key_mismatch',
  )
  assert.equal(hooks.putOwn(Buffer.alloc(33), encode()), 'keysize')
  assert.equal(hooks.putOwn(id, opaque), 'context')
  assert.equal(hooks.getAny(id), undefined)
})

test('a get without context counts as one get, hit or miss', () => {
  const { hooks, store, encode } = setup()
  hooks.getAny(id)
  hooks.putOwn(id, encode())
  hooks.getAny(id)
  assert.deepEqual(store.stats.gets, { hit: 1, miss: 1, expired: 0, context_mismatch: 0 })
})

test('every get is in the histogram of durations', () => {
  const { hooks, encode } = setup()
  hooks.get(shop, id)
  hooks.put({ context: shop, id, session: encode() })
  hooks.get(shop, id)
  hooks.get(bank, id)
  assert.equal(hooks.stats.getDurations.count, 3)
})

test('nothing of a session is in the log', () => {
  const { hooks, logger } = setup()
  hooks.put({ context: shop, id, session: opaque })
  hooks.get(bank, id)
  const written = JSON.stringify(logger.lines)
  assert.equal(logger.lines.length, 1)
  assert.ok(!written.includes(id.toString('hex')))
  assert.ok(!written.includes(opaque.toString('hex').slice(0, 16)))
})

test('the public calls of hooks and store are there', () => {
  const { hooks, store } = setup()
  for (const name of Object.keys(SHOWN.hooks)) assert.ok(name in hooks, name)
  for (const name of Object.keys(SHOWN.store)) assert.ok(name in store, name)
})
