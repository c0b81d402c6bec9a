// The store against a trivial model, compared after every step.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { CacheLimits } from '../../src/store/limits.ts'
import { maxRecordBytes } from '../../src/store/record.ts'
import { SessionStore } from '../../src/store/session-store.ts'
import { type Change, VersionClock } from '../../src/store/versions.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { type ModelLimits, StoreModel } from './store-model.ts'

const ORIGIN = 5
const PEER = 9

/** Beyond a minute without sweeping, the order in which buckets are swept is no longer that of time. */
const LONGEST_UNSWEPT_MS = 20_000

const id = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'iiii', 'jjjjj', '')
const context = fc.constantFrom('', 'shop', 'mail')
const serverName = fc.constantFrom('', 'a.test', 'b.test')
const session = fc
  .tuple(fc.constantFrom('x', 'y', 'z'), fc.constantFrom(0, 1, 40, 200, 700, 701))
  .map(([letter, size]) => letter.repeat(size))
const ttlMs = fc.constantFrom(-5, 0, 1, 300, 2000, 10_000, 99_000)
const peerTtlMs = fc.constantFrom(1, 300, 2000, 99_000)
/** How far behind or ahead of our own version clock a peer's change is, in ticks. */
const tick = fc.oneof(fc.constantFrom(-2, -1, 0), fc.integer({ min: -40_000_000, max: 40_000_000 }))

const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('put' as const),
      id,
      context,
      serverName,
      session,
      ttlMs,
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('get' as const),
      id,
      context,
      serverName: fc.option(serverName, { nil: undefined }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('remove' as const), id, context }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('applyPut' as const),
      id,
      context,
      serverName,
      session,
      ttlMs: peerTtlMs,
      tick,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('applyRemove' as const), id, ttlMs: peerTtlMs, tick }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('advance' as const),
      ms: fc.constantFrom(1, 100, 250, 700, 3000, 30_000),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('sweep' as const) }) },
)

type RunLimits = ModelLimits & { readonly memoryBytes?: number | undefined }

const limits: fc.Arbitrary<RunLimits> = fc.record({
  items: fc.integer({ min: 1, max: 6 }),
  keysize: fc.constant(4),
  blocksize: fc.constant(700),
  timeoutMs: fc.constant(10_000),
  contexts: fc.option(fc.constant(['shop', '']), { nil: undefined }),
  full: fc.constantFrom('evict', 'refuse'),
  // Far more than these sessions need. Without a limit a page has 4 MiB, and to zero those takes most of a run.
  memoryBytes: fc.constantFrom(undefined, 2 ** 20, 2 ** 20, 2 ** 20),
})

const bytes = (text: string) => Buffer.from(text, 'latin1')

test('every sequence of steps leaves the store as the model says', () => {
  const run = fc.property(
    limits,
    fc.array(step, { maxLength: 100, size: 'max' }),
    (modelLimits, steps) => {
      const clock = new FakeClock()
      const versions = new VersionClock(clock)
      // Shadows the store's own version clock, tick by tick: both are asked and told the same.
      const shadow = new VersionClock(clock)
      const store = new SessionStore(limitsOf(modelLimits), {
        clock,
        versions,
        origin: ORIGIN,
        seed: Buffer.from('seed'),
      })
      const model = new StoreModel(modelLimits)
      const told: string[] = []
      store.onChange = (change, origin) => told.push(`${origin} ${describe(change)}`)
      const expectedTold: string[] = []
      let unsweptMs = 0

      const sweepBoth = () => {
        let more = true
        while (more) more = store.sweepOne()
        model.sweep(clock.monotonicMs())
        unsweptMs = 0
      }

      for (const one of steps) {
        const nowMs = clock.monotonicMs()
        if (one.do === 'advance') {
          clock.advance(one.ms)
          unsweptMs += one.ms
          if (unsweptMs > LONGEST_UNSWEPT_MS) sweepBoth()
        } else if (one.do === 'sweep') {
          sweepBoth()
        } else if (one.do === 'get') {
          const got = store.get(bytes(one.id), bytes(one.context), one.serverName)
          const result = typeof got === 'string' ? got : `hit ${got.session.toString('latin1')}`
          assert.equal(result, model.get(nowMs, one.id, one.context, one.serverName))
        } else if (one.do === 'put') {
          const entry = entryOf(one)
          const result = store.put({ ...entry, ttlMs: one.ttlMs })
          const isStored = result === 'stored' || result === 'replaced'
          const version = { clock: isStored ? shadow.next() : 0, origin: ORIGIN }
          const fields = { ...one, version, isTombstone: false }
          assert.equal(result, model.put(nowMs, one.ttlMs, fields))
          if (isStored) {
            expectedTold.push(`local put ${one.id} ${version.clock} ${Math.min(one.ttlMs, 10_000)}`)
          }
        } else if (one.do === 'remove') {
          const toldBefore = told.length
          const removed = store.remove(bytes(one.id), bytes(one.context))
          const isTold = told.length > toldBefore
          const version = { clock: isTold ? shadow.next() : 0, origin: ORIGIN }
          assert.equal(removed, model.remove(nowMs, one.id, one.context, version))
          if (isTold) expectedTold.push(`local remove ${one.id} ${version.clock} 10000`)
        } else {
          const version = { clock: Math.max(1, shadow.next() + one.tick), origin: PEER }
          versions.next()
          shadow.observe(version.clock)
          const common = { cache: 'ssl', id: bytes(one.id), ttlMs: one.ttlMs, version }
          const result =
            one.do === 'applyPut'
              ? store.apply({ kind: 'put', ...common, ...entryOf(one) })
              : store.apply({ kind: 'remove', ...common })
          const expected =
            one.do === 'applyPut'
              ? model.applyPut(nowMs, one.ttlMs, { ...one, version, isTombstone: false })
              : model.applyRemove(nowMs, one.ttlMs, one.id, version)
          assert.equal(result, expected)
          const kind = one.do === 'applyPut' ? 'put' : 'remove'
          if (result === 'applied') {
            expectedTold.push(`peer ${kind} ${one.id} ${version.clock} ${one.ttlMs}`)
          }
        }
        assertSame(store, model, clock.monotonicMs())
      }
      assert.deepEqual(told, expectedTold)
    },
  )
  fc.assert(run, { numRuns: 1500 })
})

function limitsOf(runLimits: RunLimits): CacheLimits {
  const { contexts, memoryBytes, ...limits } = runLimits
  return {
    ...limits,
    name: 'ssl',
    ...(contexts && { contexts: contexts.map(bytes) }),
    ...(memoryBytes !== undefined && { memoryBytes }),
  }
}

function entryOf(one: { id: string; context: string; serverName: string; session: string }) {
  const { serverName } = one
  return { id: bytes(one.id), context: bytes(one.context), serverName, session: bytes(one.session) }
}

function describe(change: Change): string {
  const id = Buffer.from(change.id).toString('latin1')
  return `${change.kind} ${id} ${change.version.clock} ${change.ttlMs}`
}

function assertSame(store: SessionStore, model: StoreModel, nowMs: number): void {
  const { stats } = store
  assert.equal(stats.items, model.sessions.length)
  assert.ok(stats.items <= store.limits.items)
  assert.equal(stats.tombstones, model.tombstones.length)
  assert.equal(
    stats.storedBytes,
    model.sessions.reduce((sum, one) => sum + one.session.length, 0),
  )
  assert.equal(stats.evicted, model.evicted)
  assert.equal(stats.expired, model.expired)
  assert.ok(stats.arenaBytes <= maxRecordBytes(store.limits))
  for (const name of 'abcdefgh') {
    const expected = model.sessions.find((one) => one.id === name && one.expiresAtMs > nowMs)
    const peeked = store.contextless.peek(bytes(name))
    assert.equal(peeked?.session.toString('latin1'), expected?.session)
    assert.equal(peeked?.context.toString('latin1'), expected?.context)
    assert.equal(peeked?.serverName, expected?.serverName)
    assert.deepEqual(peeked?.version, expected?.version)
    assert.equal(peeked?.ttlMs, expected && expected.expiresAtMs - nowMs)
  }
}
