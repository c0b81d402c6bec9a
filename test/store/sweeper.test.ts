// The sweeper: takes out what expired and nothing else, in slices, and stops when told.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Sweeper } from '../../src/store/expiry.ts'
import { SessionStore } from '../../src/store/session-store.ts'
import { VersionClock } from '../../src/store/versions.ts'
import { FakeClock } from '../support/fake-clock.ts'

const CONTEXT = Buffer.from('shop')

function createStore(clock: FakeClock, timeoutMs = 60_000): SessionStore {
  return new SessionStore(
    { name: 'ssl', items: 10_000, keysize: 32, blocksize: 64, timeoutMs, full: 'refuse' },
    { clock, versions: new VersionClock(clock), origin: 1, seed: Buffer.from('seed') },
  )
}

function put(store: SessionStore, name: string, ttlMs: number): void {
  const id = Buffer.from(name)
  store.put({ id, context: CONTEXT, serverName: '', session: id, ttlMs })
}

test('expired sessions and tombstones leave, the others stay', () => {
  const clock = new FakeClock()
  const store = createStore(clock)
  const sweeper = new Sweeper([store], clock)
  sweeper.start()
  for (let number = 0; number < 500; number += 1) put(store, `short ${number}`, 1000)
  put(store, 'long', 30_000)
  put(store, 'removed', 30_000)
  store.remove(Buffer.from('removed'), CONTEXT)
  assert.equal(store.stats.tombstones, 1)
  clock.advance(1500)
  assert.equal(store.stats.items, 1)
  assert.equal(store.stats.expired, 500)
  assert.equal(store.stats.storedBytes, 4)
  clock.advance(60_000)
  assert.equal(store.stats.items, 0)
  assert.equal(store.stats.tombstones, 0)
  assert.ok(sweeper.durations.count > 0)
  sweeper.stop()
  assert.equal(clock.pendingCount, 0)
})

test('a pause longer than everything lives leaves nothing behind', () => {
  const clock = new FakeClock()
  const store = createStore(clock, 2000)
  put(store, 'before', 2000)
  clock.advance(3_600_000)
  put(store, 'after', 2000)
  const sweeper = new Sweeper([store], clock)
  sweeper.start()
  clock.advance(200)
  assert.equal(store.stats.items, 1)
  assert.equal(typeof store.get(Buffer.from('after'), CONTEXT), 'object')
  clock.advance(3000)
  assert.equal(store.stats.items, 0)
  sweeper.stop()
})

/** A clock on which every look takes 1 ms, as if the machine were very slow. */
class SlowClock extends FakeClock {
  #looks = 0
  override monotonicMs(): number {
    this.#looks += 1
    return super.monotonicMs() + this.#looks
  }
}

test('a large sweep lets waiting I/O go first after each slice', () => {
  const clock = new SlowClock()
  const store = createStore(clock)
  for (let number = 0; number < 2000; number += 1) put(store, `short ${number}`, 1)
  const sweeper = new Sweeper([store], clock)
  const before: number[] = []
  clock.advance(1000)
  sweeper.start()
  clock.after(100, () => before.push(store.stats.items))
  clock.advance(100)
  const [itemsAfterFirstSlice = 0] = before
  assert.ok(itemsAfterFirstSlice > 0 && itemsAfterFirstSlice < 2000, `${itemsAfterFirstSlice}`)
  clock.advance(1000)
  assert.equal(store.stats.items, 0)
  sweeper.stop()
  assert.equal(clock.pendingCount, 0)
})

test('in a full cache that refuses, an expired session gives way at once', () => {
  const clock = new FakeClock()
  const store = new SessionStore(
    { name: 'ssl', items: 1, keysize: 32, blocksize: 64, timeoutMs: 60_000, full: 'refuse' },
    { clock, versions: new VersionClock(clock), origin: 1, seed: Buffer.from('seed') },
  )
  put(store, 'first', 10)
  put(store, 'second', 10)
  assert.equal(store.stats.puts.full, 1)
  clock.advance(10)
  put(store, 'third', 10)
  assert.equal(store.stats.puts.stored, 2)
  assert.equal(store.stats.items, 1)
})
