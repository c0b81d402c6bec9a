// Gets that are carried out together: the store answers, counts and evicts as if each had come by itself.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { MAX_LOOKUPS } from '../../src/store/lookups.ts'
import type { SessionStore } from '../../src/store/session-store.ts'
import type { SessionView } from '../../src/store/session-view.ts'
import { Sharding } from '../../src/store/sharding.ts'
import { createCacheFixture } from '../support/cache-fixture.ts'

const NO_CONTEXT = Buffer.alloc(0)

function idOf(number: number): Buffer {
  return Buffer.from(`id ${number}`)
}

function put(store: SessionStore, id: Buffer, bytes: number, ttlMs = 60_000): void {
  const session = Buffer.alloc(bytes, id)
  store.put({ id, context: NO_CONTEXT, serverName: '', session, ttlMs })
}

function contentOf(found: SessionView | string): unknown {
  return typeof found === 'string' ? found : [found.session, found.ttlMs, found.version]
}

/** Asks for all of them together; `meanwhile` happens between two of them. */
function getTogether(
  store: SessionStore,
  ids: readonly Buffer[],
  nowMs: number,
  meanwhile = (_number: number) => {},
): unknown[] {
  const bytes = Buffer.concat([Buffer.from('before'), ...ids])
  const lookups = store.contextless.lookupsIn(bytes)
  let start = 'before'.length
  const announced = ids.map((id) => {
    start += id.length
    return lookups.add(start - id.length, id.length) ?? assert.fail('no room')
  })
  lookups.find()
  const found = announced.map((lookup, number) => {
    meanwhile(number)
    return contentOf(store.contextless.getFound(lookups, lookup, nowMs))
  })
  lookups.clear()
  return found
}

/** In which order sessions will be evicted. */
function orderOf(store: SessionStore): string[] {
  const order: string[] = []
  store.onChange = ({ id }) => order.push(id.toString())
  for (let oldest = store.contextless.oldest(); oldest; oldest = store.contextless.oldest()) {
    store.remove(oldest.id, oldest.context)
  }
  return order
}

const number = fc.integer({ min: 0, max: 40 })
const step = fc.oneof(
  fc.record({
    kind: fc.constant('put' as const),
    number,
    bytes: fc.integer({ min: 1, max: 999 }),
    ttlMs: fc.constantFrom(10, 1000),
  }),
  fc.record({ kind: fc.constant('remove' as const), number }),
  fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 20 }) }),
  fc.record({ kind: fc.constant('get' as const), numbers: fc.array(number, { maxLength: 60 }) }),
)

test('gets together find, count and touch what they find one by one', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const [together, single] = [
        createCacheFixture({ items: 20 }),
        createCacheFixture({ items: 20 }),
      ]
      for (const one of steps) {
        for (const { store, clock } of [together, single]) {
          if (one.kind === 'put') put(store, idOf(one.number), one.bytes, one.ttlMs)
          if (one.kind === 'remove') store.remove(idOf(one.number), NO_CONTEXT)
          if (one.kind === 'wait') clock.advance(one.ms)
        }
        if (one.kind !== 'get') continue
        const ids = one.numbers.map(idOf)
        const expected = ids.map((id) => contentOf(single.store.contextless.get(id)))
        const nowMs = together.clock.monotonicMs()
        assert.deepEqual(getTogether(together.store, ids, nowMs), expected)
      }
      assert.deepEqual(together.store.stats, single.store.stats)
      assert.deepEqual(orderOf(together.store), orderOf(single.store))
    }),
  )
})

test('what was found may have moved, changed or gone before it is asked for', () => {
  const { store, clock } = createCacheFixture()
  for (const each of [1, 2, 3, 4]) put(store, idOf(each), 130)
  const ids = [1, 2, 3, 4, 5].map(idOf)
  const found = getTogether(store, ids, clock.monotonicMs(), (at) => {
    // Its block becomes another one's.
    if (at === 1) store.remove(idOf(1), NO_CONTEXT)
    if (at === 2) put(store, idOf(3), 700)
    if (at === 3) store.remove(idOf(4), NO_CONTEXT)
    if (at === 4) put(store, idOf(5), 9)
  })
  const bytes = found.map((one) => (one === 'miss' ? one : (one as [Buffer])[0]))
  const contents = [130, 130, 700].map((length, at) => Buffer.alloc(length, idOf(at + 1)))
  assert.deepEqual(bytes, [...contents, 'miss', Buffer.alloc(9, idOf(5))])
})

test('the list holds the allowed number of lookups, and again as many after they are carried out', () => {
  const { store, clock } = createCacheFixture({ items: 2 * MAX_LOOKUPS })
  const ids = Array.from({ length: MAX_LOOKUPS }, (_value, each) => idOf(each))
  for (const id of ids) put(store, id, 130)
  const bytes = Buffer.concat(ids)
  const lookups = store.contextless.lookupsIn(bytes)
  for (let round = 0; round < 2; round += 1) {
    let start = 0
    const announced = ids.map((id) => {
      start += id.length
      return lookups.add(start - id.length, id.length) ?? assert.fail('no room')
    })
    assert.equal(lookups.add(0, 1), undefined)
    lookups.find()
    const found = announced.map((one) =>
      store.contextless.getFound(lookups, one, clock.monotonicMs()),
    )
    for (const [at, one] of found.entries()) assert.ok(typeof one !== 'string', `${at}: ${one}`)
    lookups.clear()
  }
  const found = getTogether(store, ids, clock.monotonicMs())
  assert.deepEqual(
    found.map((one) => (one as [Buffer])[0]),
    ids.map((id) => Buffer.alloc(130, id)),
  )
})

test('IDs that share a fingerprint are told apart', () => {
  const { store, clock } = createCacheFixture()
  // The sharding of the fixture. Some pair among so many IDs shares a fingerprint, and with one seed it is always that pair.
  const sharding = new Sharding(store.limits.items, Buffer.from('seed'))
  const seen = new Map<number, Buffer>()
  const twins: Buffer[] = []
  for (let each = 0; twins.length === 0; each += 1) {
    const fingerprint = sharding.fingerprint(idOf(each))
    const other = seen.get(fingerprint)
    if (other !== undefined) twins.push(other, idOf(each))
    seen.set(fingerprint, idOf(each))
  }
  for (const [at, id] of twins.entries()) put(store, id, 100 + at)
  const found = getTogether(store, twins, clock.monotonicMs())
  assert.deepEqual(
    found.map((one) => (one as [Buffer])[0]),
    twins.map((id, at) => Buffer.alloc(100 + at, id)),
  )
})

test('a fingerprint is the same wherever the ID lies', () => {
  const items = fc.constantFrom(1, 20_000, 1_000_000)
  const bytes = fc.uint8Array({ maxLength: 60 })
  fc.assert(
    fc.property(items, bytes, fc.nat(7), (count, id, start) => {
      const sharding = new Sharding(count, Buffer.from('seed'))
      const memory = Buffer.concat([Buffer.alloc(start, 'x'), id, Buffer.from('xx')])
      const view = new DataView(memory.buffer, memory.byteOffset, memory.length)
      assert.equal(sharding.fingerprintIn(view, start, id.length), sharding.fingerprint(id))
    }),
  )
})
