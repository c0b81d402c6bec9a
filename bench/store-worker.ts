// One measurement of the store in a fresh process: `store-worker.ts rates|random|memory|pause <items>
// <amount>`. Prints one JSON document.

import { randomBytes, randomInt } from 'node:crypto'
import { systemClock } from '../src/base/world.ts'
import { Sweeper } from '../src/store/expiry.ts'
import { SessionStore } from '../src/store/session-store.ts'
import { VersionClock } from '../src/store/versions.ts'
import type { MemoryResult, PauseResult, RandomRatesResult, RatesResult } from './store.ts'

const ID_BYTES = 32
const CONTEXT = Buffer.from('shop.example')
const SESSION = randomBytes(130)
const TIMEOUT_MS = 300_000
/** How many a second shall expire while pauses are measured. */
const EXPIRIES_PER_SEC = 20_000
/** Several times what a put takes. */
const FILL_MS_PER_ITEM = 0.006
const MIN_GETS_PER_ROUND = 1_000_000
const OPERATIONS_AT_RANDOM = 500_000

function createStore(items: number): SessionStore {
  return new SessionStore(
    { name: 'ssl', items, keysize: 128, blocksize: 4096, timeoutMs: TIMEOUT_MS, full: 'evict' },
    {
      clock: systemClock,
      versions: new VersionClock(systemClock),
      origin: 1,
      seed: randomBytes(32),
    },
  )
}

const ID_WORDS = ID_BYTES / 4
const oneId = Buffer.alloc(ID_BYTES)
const oneIdWords = new Uint32Array(oneId.buffer, oneId.byteOffset, ID_WORDS)

/**
 * One of many session IDs that lie one behind the other, always in the same Buffer: like an ID that just
 * came in, it is in the processor's cache and costs no object of the benchmark's own.
 */
function idAt(ids: Uint32Array, number: number): Buffer {
  const from = number * ID_WORDS
  for (let word = 0; word < ID_WORDS; word += 1) oneIdWords[word] = ids[from + word] ?? 0
  return oneId
}

function randomIds(count: number): Uint32Array {
  return new Uint32Array(new Uint8Array(randomBytes(count * ID_BYTES)).buffer)
}

/** The same IDs in another, random order. */
function shuffled(ids: Uint32Array): Uint32Array {
  const count = ids.length / ID_WORDS
  const copy = Uint32Array.from(ids)
  for (let number = count - 1; number > 0; number -= 1) {
    const other = randomInt(number + 1)
    const moved = copy.slice(number * ID_WORDS, (number + 1) * ID_WORDS)
    copy.copyWithin(number * ID_WORDS, other * ID_WORDS, (other + 1) * ID_WORDS)
    copy.set(moved, other * ID_WORDS)
  }
  return copy
}

function put(store: SessionStore, id: Buffer, ttlMs = TIMEOUT_MS): void {
  store.put({ id, context: CONTEXT, serverName: '', session: SESSION, ttlMs })
}

function perSec(count: number, startMs: number): number {
  return (count / (performance.now() - startMs)) * 1000
}

/**
 * Gets come in the order in which the sessions were put, and in another, random one, where no get finds
 * anything of the one before it in the processor's caches.
 */
function rates(items: number, rounds: number): RatesResult {
  const store = createStore(items)
  const inOrder = randomIds(items)
  const atRandom = shuffled(inOrder)
  const result: RatesResult = { putsPerSec: [], getsInOrderPerSec: [], getsAtRandomPerSec: [] }
  // The first round warms the compiler and the memory; it is not counted.
  for (let round = 0; round <= rounds; round += 1) {
    const startMs = performance.now()
    for (let number = 0; number < items; number += 1) put(store, idAt(inOrder, number))
    const putsPerSec = perSec(items, startMs)
    const getsInOrderPerSec = getRate(store, inOrder, items)
    const getsAtRandomPerSec = getRate(store, atRandom, items)
    if (round === 0) continue
    result.putsPerSec.push(putsPerSec)
    result.getsInOrderPerSec.push(getsInOrderPerSec)
    result.getsAtRandomPerSec.push(getsAtRandomPerSec)
  }
  return result
}

function getRate(
  store: SessionStore,
  ids: Uint32Array,
  items: number,
  gets = Math.max(items, MIN_GETS_PER_ROUND),
  from = 0,
): number {
  let hits = 0
  const startMs = performance.now()
  for (let count = 0; count < gets; count += 1) {
    if (typeof store.get(idAt(ids, (from + count) % items), CONTEXT) !== 'string') hits += 1
  }
  const rate = perSec(gets, startMs)
  if (hits !== gets) throw new Error(`${gets - hits} of ${gets} gets missed`)
  return rate
}

/**
 * Gets and puts of sessions that are there, uniformly at random: as many operations a round whatever the
 * number of items, each round going on in the random order where the last one ended.
 */
function randomRates(items: number, rounds: number): RandomRatesResult {
  const store = createStore(items)
  const inOrder = randomIds(items)
  const atRandom = shuffled(inOrder)
  for (let number = 0; number < items; number += 1) put(store, idAt(inOrder, number))
  const result: RandomRatesResult = { putsPerSec: [], getsPerSec: [] }
  let from = 0
  // The first round warms the compiler; it is not counted.
  for (let round = 0; round <= rounds; round += 1) {
    const getsPerSec = getRate(store, atRandom, items, OPERATIONS_AT_RANDOM, from)
    const startMs = performance.now()
    for (let count = 0; count < OPERATIONS_AT_RANDOM; count += 1) {
      put(store, idAt(atRandom, (from + count) % items))
    }
    const putsPerSec = perSec(OPERATIONS_AT_RANDOM, startMs)
    from = (from + OPERATIONS_AT_RANDOM) % items
    if (round === 0) continue
    result.getsPerSec.push(getsPerSec)
    result.putsPerSec.push(putsPerSec)
  }
  return result
}

/** V8 gives memory back to the system in a thread of its own, a moment after a collection. */
async function collectGarbage(): Promise<void> {
  globalThis.gc?.()
  await new Promise((resolve) => setTimeout(resolve, 500))
  globalThis.gc?.()
}

/** Growth of the whole process, in resident memory, from before the store was made. */
async function memory(items: number): Promise<MemoryResult> {
  const id = Buffer.alloc(ID_BYTES)
  await collectGarbage()
  const beforeBytes = process.memoryUsage().rss
  const store = createStore(items)
  const seed = randomBytes(ID_BYTES)
  for (let number = 0; number < items; number += 1) {
    seed.copy(id)
    id.writeUInt32LE(number, 0)
    put(store, id)
  }
  await collectGarbage()
  const bytesPerSession = (process.memoryUsage().rss - beforeBytes) / store.stats.items
  return { bytesPerSession }
}

/** A full store in which as many sessions expire as are put, while the event loop turns and is watched. */
async function pause(items: number, seconds: number): Promise<PauseResult> {
  const store = createStore(items)
  const sweeper = new Sweeper([store], systemClock)
  const lifeMs = (items / EXPIRIES_PER_SEC) * 1000
  const id = Buffer.alloc(ID_BYTES)
  let made = 0
  const putNew = (ttlMs: number) => {
    made += 1
    id.writeUInt32LE(made)
    put(store, id, ttlMs)
  }
  // Expiring begins at a moment after the filling, however long that takes, and goes on evenly.
  const beginMs = performance.now() + 2000 + items * FILL_MS_PER_ITEM
  while (made < items) putNew(beginMs + (made / items) * lifeMs - performance.now())
  sweeper.start()
  await new Promise((resolve) => setTimeout(resolve, beginMs + 1000 - performance.now()))
  const startMs = performance.now()
  const expiredBefore = store.stats.expired
  const madeBefore = made
  let longestPauseMs = 0
  let lastTurnMs = startMs
  while (lastTurnMs - startMs < seconds * 1000) {
    const due = madeBefore + ((lastTurnMs - startMs) / 1000) * EXPIRIES_PER_SEC
    for (let count = 0; count < 100 && made < due; count += 1) putNew(lifeMs)
    await new Promise((resolve) => setImmediate(resolve))
    const nowMs = performance.now()
    longestPauseMs = Math.max(longestPauseMs, nowMs - lastTurnMs)
    lastTurnMs = nowMs
  }
  sweeper.stop()
  const expiredPerSec = (store.stats.expired - expiredBefore) / ((lastTurnMs - startMs) / 1000)
  return { longestPauseMs, expiredPerSec, items: store.stats.items }
}

const [task = '', items = '0', amount = '0'] = process.argv.slice(2)
const TASKS: Record<string, (items: number, amount: number) => unknown> = {
  rates,
  random: randomRates,
  memory,
  pause,
}
const result = await TASKS[task]?.(Number(items), Number(amount))
console.log(JSON.stringify(result))
