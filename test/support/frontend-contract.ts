// What every frontend keeps to, whatever its protocol: sessions put on one node are got on another one, under
// the limits, contexts and lifetimes of the cache. What a protocol cannot say is in its traits.

import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import type { CacheLimits } from '../../src/store/limits.ts'
import type { PutResult } from '../../src/store/stats.ts'
import { type CacheFixture, createCacheFixture } from './cache-fixture.ts'
import { FakeClock } from './fake-clock.ts'
import { encodeSession, type SessionFields } from './session-encoder.ts'

export interface PutSession {
  readonly id: Buffer
  readonly context: Buffer
  readonly session: Buffer
  readonly ttlSec: number
  readonly serverName?: string
}

/** A client of one frontend on one cache. Each call resolves when the frontend has carried it out. */
export interface FrontendClient {
  /** What the client was told; undefined where it is told nothing. */
  put(put: PutSession): Promise<PutResult | 'refused' | undefined>
  get(id: Buffer, context: Buffer, serverName?: string): Promise<Buffer | undefined>
  /** Whether there was one; undefined where the client is not told. */
  remove(id: Buffer, context: Buffer): Promise<boolean | undefined>
  close(): Promise<void>
}

export interface FrontendTraits {
  readonly name: string
  /** Callers say the session ID context; without it that of the session counts, and gets take any. */
  readonly namesContext: boolean
  readonly namesServer: boolean
  /** What a client hears of a put: how it ended, whether it was taken, or nothing. */
  readonly tellsPuts: 'result' | 'refusal' | 'nothing'
  readonly tellsRemoves: boolean
  /** Largest session that the protocol can carry, where that is less than a cache can take. */
  readonly maxSessionBytes?: number
  /** Session IDs that are shorter come with zeros behind them. */
  readonly hasFixedIds: boolean
  readonly open: (cache: CacheFixture) => Promise<FrontendClient>
}

const SHOP = Buffer.from('shop')
const BANK = Buffer.from('bank')
const ID = Buffer.alloc(32, 0x5a)
const OTHER_ID = Buffer.alloc(32, 0xa5)
const TLS_1_3 = 0x0304
const LIFETIME_SEC = 3000

interface Place {
  readonly cache: CacheFixture
  readonly client: FrontendClient
}

export function testFrontendContract(traits: FrontendTraits): void {
  /** Two nodes that tell each other what changes, each with the frontend and a client of it. */
  async function open(t: TestContext, limits: Partial<CacheLimits> = {}, singleUse = false) {
    const clock = new FakeClock()
    const [one, two] = [1, 2].map((origin) => createCacheFixture(limits, singleUse, clock, origin))
    assert.ok(one !== undefined && two !== undefined)
    for (const [from, to] of [
      [one, two],
      [two, one],
    ] as const) {
      from.store.onChange = (change, origin) => {
        if (origin === 'local') to.store.apply(change)
      }
    }
    const here: Place = { cache: one, client: await traits.open(one) }
    t.after(() => here.client.close())
    const there: Place = { cache: two, client: await traits.open(two) }
    t.after(() => there.client.close())
    const make = (fields: SessionFields = {}) =>
      encodeSession({
        id: ID,
        context: SHOP,
        timeSec: Math.floor(clock.wallMs() / 1000),
        timeoutSec: LIFETIME_SEC,
        ...fields,
      })
    return { clock, here, there, make }
  }

  /** Puts, and checks what was counted against what the client was told. */
  async function put({ cache, client }: Place, expected: PutResult, asked: Partial<PutSession>) {
    const before = cache.store.stats.puts[expected]
    const all = { id: ID, context: SHOP, session: Buffer.alloc(0), ttlSec: 1000, ...asked }
    const told = await client.put(all)
    assert.equal(cache.store.stats.puts[expected], before + 1, `not ${expected}`)
    const isTaken = expected === 'stored' || expected === 'replaced'
    const means = { result: expected, refusal: isTaken ? 'stored' : 'refused', nothing: undefined }
    assert.equal(told, means[traits.tellsPuts])
  }

  describe(`contract: ${traits.name}`, () => {
    test('put here, got there, and the other way round', async (t) => {
      const { here, there, make } = await open(t)
      assert.equal(await there.client.get(ID, SHOP), undefined)
      const session = make()
      await put(here, 'stored', { session })
      for (const { client } of [here, there]) assert.deepEqual(await client.get(ID, SHOP), session)
      const newer = make({ timeoutSec: LIFETIME_SEC - 1 })
      await put(there, 'replaced', { session: newer })
      for (const { client } of [here, there]) assert.deepEqual(await client.get(ID, SHOP), newer)
      assert.equal(await here.client.get(OTHER_ID, SHOP), undefined)
    })

    test('put here, found by every other frontend, and the other way round', async (t) => {
      const { here, make } = await open(t)
      const { hooks } = here.cache
      const session = make()
      await put(here, 'stored', { session })
      assert.deepEqual(hooks.get(SHOP, ID)?.session, session)
      const other = make({ id: OTHER_ID })
      hooks.put({ context: SHOP, id: OTHER_ID, session: other })
      assert.deepEqual(await here.client.get(OTHER_ID, SHOP), other)
    })

    test('removed here, gone there', async (t) => {
      const { here, there, make } = await open(t)
      await put(here, 'stored', { session: make() })
      const wasThere = await there.client.remove(ID, SHOP)
      assert.equal(wasThere, traits.tellsRemoves ? true : undefined)
      for (const { client } of [here, there]) assert.equal(await client.get(ID, SHOP), undefined)
      const again = await here.client.remove(ID, SHOP)
      assert.equal(again, traits.tellsRemoves ? false : undefined)
    })

    test('a session lives as long as was asked for, and no longer', async (t) => {
      const { clock, here, there, make } = await open(t)
      await put(here, 'stored', { session: make(), ttlSec: 10 })
      clock.advance(9999)
      for (const { client } of [here, there]) assert.ok((await client.get(ID, SHOP)) !== undefined)
      clock.advance(1)
      for (const { client } of [here, there]) assert.equal(await client.get(ID, SHOP), undefined)
    })

    test('a session lives no longer than the cache and the session itself allow', async (t) => {
      const { clock, here, there, make } = await open(t, { timeoutMs: 20_000 })
      await put(here, 'stored', { session: make() })
      await put(here, 'stored', { id: OTHER_ID, session: make({ id: OTHER_ID, timeoutSec: 15 }) })
      clock.advance(15_000)
      assert.equal(await there.client.get(OTHER_ID, SHOP), undefined)
      assert.ok((await there.client.get(ID, SHOP)) !== undefined)
      clock.advance(5000)
      for (const { client } of [here, there]) assert.equal(await client.get(ID, SHOP), undefined)
    })

    test('a session that is over, or that allows early data, is not stored', async (t) => {
      const { clock, here, make } = await open(t)
      await put(here, 'stored', { session: make() })
      const old = make()
      clock.advance(LIFETIME_SEC * 1000)
      await put(here, 'expired', { session: old })
      await put(here, 'early_data', { session: make({ maxEarlyData: 1 }) })
      assert.equal(await here.client.get(ID, SHOP), undefined)
    })

    test('a session is stored under its own ID only', async (t) => {
      const { here, make } = await open(t)
      await put(here, 'key_mismatch', { id: OTHER_ID, session: make() })
      assert.equal(await here.client.get(OTHER_ID, SHOP), undefined)
    })

    test('only the contexts of the cache are taken', async (t) => {
      const { here, make } = await open(t, { contexts: [SHOP] })
      await put(here, 'context', { context: BANK, session: make({ context: BANK }) })
      await put(here, 'stored', { session: make() })
    })

    if (traits.namesContext) {
      test('under another context it is a miss that is counted', async (t) => {
        const { here, there, make } = await open(t)
        await put(here, 'context', { context: BANK, session: make() })
        await put(here, 'stored', { session: make() })
        assert.equal(await there.client.get(ID, BANK), undefined)
        assert.equal(await there.client.get(ID, Buffer.alloc(0)), undefined)
        assert.equal(there.cache.store.stats.gets.context_mismatch, 2)
        assert.equal(await there.client.remove(ID, BANK), false)
        assert.ok((await there.client.get(ID, SHOP)) !== undefined)
      })
    } else {
      test('a session is bound to its own context, whichever client put it', async (t) => {
        const { here, there, make } = await open(t)
        await put(here, 'stored', { session: make({ context: BANK }) })
        assert.equal(there.cache.hooks.get(SHOP, ID), undefined)
        assert.ok(there.cache.hooks.get(BANK, ID) !== undefined)
      })
    }

    if (traits.namesServer) {
      test('under another server name it is a miss', async (t) => {
        const { here, there, make } = await open(t)
        await put(here, 'stored', { session: make(), serverName: 'www.test' })
        assert.equal(await there.client.get(ID, SHOP, 'mail.test'), undefined)
        for (const name of ['www.test', undefined]) {
          assert.ok((await there.client.get(ID, SHOP, name)) !== undefined)
        }
      })
    }

    test('the largest session is taken, a larger one refused', async (t) => {
      const blocksize = Math.min(350, traits.maxSessionBytes ?? 350)
      const { here, there, make } = await open(t, { blocksize })
      const sessions = Array.from({ length: 250 }, (_v, length) =>
        make({ serverName: 'n'.repeat(length) }),
      )
      const largest = sessions.find((session) => session.length === blocksize)
      const larger = sessions.find((session) => session.length === blocksize + 1)
      assert.ok(largest !== undefined && larger !== undefined)
      await put(here, 'stored', { session: largest })
      await put(here, 'blocksize', { session: larger })
      assert.deepEqual(await there.client.get(ID, SHOP), largest)
    })

    test('an ID longer than the keysize is refused', async (t) => {
      const { here, make } = await open(t, { keysize: 31 })
      await put(here, 'keysize', { session: make() })
      assert.equal(await here.client.get(ID, SHOP), undefined)
      if (traits.hasFixedIds) return
      const short = ID.subarray(0, 31)
      await put(here, 'stored', { id: short, session: make({ id: short }) })
      assert.ok((await here.client.get(short, SHOP)) !== undefined)
    })

    for (const full of ['refuse', 'evict'] as const) {
      test(`a cache of three holds three: ${full}`, async (t) => {
        const { here, make } = await open(t, { items: 3, full })
        const ids = [1, 2, 3, 4].map((number) => Buffer.alloc(32, number))
        for (const [index, id] of ids.entries()) {
          const expected = index === 3 && full === 'refuse' ? 'full' : 'stored'
          await put(here, expected, { id, session: make({ id }) })
          assert.equal(here.cache.store.stats.items, Math.min(index + 1, 3))
        }
        const found = await Promise.all(ids.map((id) => here.client.get(id, SHOP)))
        const expected = full === 'refuse' ? [true, true, true, false] : [false, true, true, true]
        assert.deepEqual(
          found.map((session) => session !== undefined),
          expected,
        )
      })
    }

    test('where sessions are for single use, a get of TLS 1.3 consumes it here and there', async (t) => {
      const { here, there, make } = await open(t, {}, true)
      await put(here, 'stored', { session: make({ protocolVersion: TLS_1_3 }) })
      assert.ok((await there.client.get(ID, SHOP)) !== undefined)
      for (const { client } of [here, there]) assert.equal(await client.get(ID, SHOP), undefined)
    })

    test('many at once, each with its own answer', async (t) => {
      const { here, there, make } = await open(t)
      const ids = Array.from({ length: 50 }, (_v, number) => Buffer.alloc(32, number + 1))
      for (const id of ids) await put(here, 'stored', { id, session: make({ id }) })
      const found = await Promise.all(ids.map((id) => there.client.get(id, SHOP)))
      assert.deepEqual(
        found,
        ids.map((id) => make({ id })),
      )
    })
  })
}
