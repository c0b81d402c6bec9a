// A cache with a memory of its own: its pages never exceed it, whatever the sizes of sessions are, and what gives way is
// what `full` says.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { arenaBudgetBytes, type CacheLimits, itemsWithin } from '../../src/store/limits.ts'
import { createCacheFixture } from '../support/cache-fixture.ts'
import { seededBytes } from '../support/seeded-random.ts'

const CONTEXT = Buffer.alloc(0)
const MEMORY_BYTES = 16 * 1024 ** 2
const TTL_MS = 60_000

function setUp(limits: Partial<CacheLimits> = {}) {
  const memoryBytes = limits.memoryBytes ?? MEMORY_BYTES
  const items = Math.min(20_000, itemsWithin(memoryBytes))
  const { store, clock } = createCacheFixture({
    items,
    blocksize: 16_384,
    memoryBytes,
    ...limits,
  })
  const budgetBytes = arenaBudgetBytes(store.limits) ?? 0
  assert.ok(budgetBytes > 0 && budgetBytes < memoryBytes)
  const idOf = (number: number) => Buffer.from(number.toString(16).padStart(64, '0'), 'hex')
  const put = (number: number, bytes: number) => {
    const session = Buffer.alloc(bytes, number)
    const entry = { id: idOf(number), context: CONTEXT, serverName: '', session, ttlMs: TTL_MS }
    const result = store.put(entry)
    const { arenaBytes } = store.stats
    assert.ok(arenaBytes <= budgetBytes, `${arenaBytes} bytes of ${budgetBytes}`)
    return result
  }
  const remove = (number: number) => store.remove(idOf(number), CONTEXT)
  const sizeOf = (number: number) => store.contextless.peek(idOf(number))?.session.length
  return { store, clock, put, remove, sizeOf, idOf, budgetBytes }
}

test('sessions of all sizes: the latest is always held, the pages stay within the memory', () => {
  const { store, put, remove, sizeOf, budgetBytes } = setUp()
  const random = seededBytes('memory')
  for (let number = 0; number < 20_000; number += 1) {
    const draw = random(4)
    const bytes = 1 + (draw.readUInt16LE() % (draw[2] === 0 ? 16_384 : 1500))
    // One in seven is there already, with another size.
    assert.equal(put(number, bytes), number % 7 === 1 && number > 1 ? 'replaced' : 'stored')
    assert.equal(sizeOf(number), bytes)
    if (number % 5 === 0) assert.equal(remove(number), true)
    if (number % 7 === 0 && number > 0) put(number + 1, 100)
  }
  assert.ok(store.stats.evicted > 0)
  // Begun pages and room at their ends take the rest.
  assert.ok(store.stats.storedBytes > budgetBytes / 3, `${store.stats.storedBytes} bytes`)
})

test('the least recently used give way, and no more of them than needed', () => {
  const { store, put, sizeOf, idOf } = setUp()
  let number = 0
  while (store.stats.evicted === 0) {
    put(number, 2000)
    number += 1
    store.get(idOf(0), CONTEXT)
  }
  assert.equal(sizeOf(0), 2000)
  assert.equal(sizeOf(1), undefined)
  assert.equal(sizeOf(2), 2000)
  assert.equal(store.stats.items, number - 1)
})

test('full: refuse keeps what is held, also when a larger session is to replace it', () => {
  const { store, put, remove, sizeOf } = setUp({ full: 'refuse' })
  let number = 0
  while (put(number, 1000) === 'stored') number += 1
  assert.ok(number < store.limits.items)
  assert.equal(store.stats.puts.full, 1)
  assert.equal(put(0, 16_000), 'full')
  assert.equal(sizeOf(0), 1000)
  assert.equal(put(0, 1001), 'replaced')
  assert.equal(store.stats.evicted, 0)
  assert.equal(store.stats.items, number)
  assert.equal(remove(1), true)
  assert.equal(sizeOf(1), undefined)
})

test('expired sessions give way before live ones', () => {
  const { store, clock, put } = setUp({ full: 'refuse' })
  let number = 0
  while (put(number, 1000) === 'stored') number += 1
  clock.advance(TTL_MS)
  assert.equal(put(number, 16_000), 'stored')
  assert.equal(store.stats.evicted, 0)
})

test("a peer's copies evict nothing for want of memory", () => {
  const { store, put, idOf } = setUp()
  let number = 0
  while (store.stats.evicted === 0) {
    put(number, 1000)
    number += 1
  }
  const session = Buffer.alloc(16_000, 1)
  const entry = { id: idOf(number), context: CONTEXT, serverName: '', session, ttlMs: TTL_MS }
  const version = { clock: 1, origin: 2 }
  const change = { kind: 'put' as const, cache: 'ssl', ...entry, version }
  assert.equal(store.apply(change, false), 'refused')
  assert.equal(store.stats.peerRefusals.full, 1)
  assert.equal(store.stats.evicted, 1)
  assert.equal(store.apply(change), 'applied')
})

test('removals of IDs that are not held fill no more than the memory', () => {
  for (const full of ['evict', 'refuse'] as const) {
    const { store, put, remove, budgetBytes } = setUp({ full })
    while (store.stats.evicted === 0 && put(store.stats.items, 1000) === 'stored');
    for (let number = 1_000_000; number < 1_010_000; number += 1) remove(number)
    assert.ok(store.stats.arenaBytes <= budgetBytes)
    assert.ok(store.stats.tombstones > 0)
  }
})
