// Keeps the slots by the time at which they expire, and sweeps them: a ring of buckets of equal length, each a doubly
// linked list of slots. The time that sweeping takes depends on how many slots expired, never on how many are stored.

import { DurationHistogram } from '../base/histogram.ts'
import { type Clock, every, type Timer } from '../base/world.ts'
import type { SessionStore } from './session-store.ts'

/** Length of one bucket. It is swept when all of it is past, so entries are swept this much late. Gets are exact. */
export const BUCKET_MS = 250

/** How many buckets sweeping may fall behind before expired and later slots share a list, which it then searches. */
const SLACK_BUCKETS = 240

/** End of a list. Lists hold slot numbers plus one, so that 0 is free for it. */
const NONE = 0

export class Expiry {
  readonly #heads: Uint32Array
  readonly #tails: Uint32Array
  readonly #next: Uint32Array
  readonly #previous: Uint32Array
  readonly #expiresAtMs: (slot: number) => number
  /** Number of the bucket where sweeping goes on, not reduced to the ring: no earlier one has to be looked at. */
  #sweptBucket: number
  /** The bucket that was last searched without a result. */
  #lookedInto = -1
  /** When the first slot of that bucket expires: until then it is not searched again. */
  #firstDueMs = 0

  /**
   * No slot ever expires later than `longestMs` from the moment of its `add`. `expiresAtMs` returns when a slot
   * expires, in ms of the monotonic clock, and must return the same from its `add` to its `delete`.
   */
  constructor(
    slots: number,
    longestMs: number,
    nowMs: number,
    expiresAtMs: (slot: number) => number,
  ) {
    this.#heads = new Uint32Array(Math.ceil(longestMs / BUCKET_MS) + 2 + SLACK_BUCKETS)
    this.#tails = new Uint32Array(this.#heads.length)
    this.#next = new Uint32Array(slots)
    this.#previous = new Uint32Array(slots)
    this.#expiresAtMs = expiresAtMs
    this.#sweptBucket = Math.floor(nowMs / BUCKET_MS)
  }

  /** Appends a slot to its bucket's list. Most lifetimes are equal, so a list is mostly in order of expiry. */
  add(slot: number): void {
    const list = this.#listOf(slot)
    const last = this.#tails[list] ?? NONE
    this.#previous[slot] = last
    this.#next[slot] = NONE
    if (last !== NONE) this.#next[last - 1] = slot + 1
    else this.#heads[list] = slot + 1
    this.#tails[list] = slot + 1
    if (list !== this.#lookedInto % this.#heads.length) return
    this.#firstDueMs = Math.min(this.#firstDueMs, this.#expiresAtMs(slot))
  }

  delete(slot: number): void {
    const next = this.#next[slot] ?? NONE
    const previous = this.#previous[slot] ?? NONE
    if (next !== NONE) this.#previous[next - 1] = previous
    else this.#tails[this.#listOf(slot)] = previous
    if (previous !== NONE) this.#next[previous - 1] = next
    else this.#heads[this.#listOf(slot)] = next
  }

  /**
   * An expired slot, which the caller deletes before the next call, or undefined when there is none. A bucket is
   * searched when all of it is past; `isExact` searches the current one, too.
   */
  nextExpired(nowMs: number, isExact = false): number | undefined {
    const nowBucket = Math.floor(nowMs / BUCKET_MS)
    // After a pause longer than the ring, one turn of it visits every bucket.
    this.#sweptBucket = Math.max(this.#sweptBucket, nowBucket - this.#heads.length)
    while (this.#sweptBucket < nowBucket) {
      const slot = this.#expiredIn(this.#sweptBucket, nowMs)
      if (slot !== undefined) return slot
      this.#sweptBucket += 1
    }
    return isExact ? this.#expiredIn(nowBucket, nowMs) : undefined
  }

  /** Yields the slots of each bucket as they are when the walk reaches it, the buckets that expire last first. */
  *newestFirst(): Generator<readonly number[]> {
    const { length } = this.#heads
    const oldest = this.#sweptBucket
    for (let bucket = oldest + length - 1; bucket >= oldest; bucket -= 1) {
      const slots: number[] = []
      let slot = this.#heads[bucket % length] ?? NONE
      while (slot !== NONE) {
        slots.push(slot - 1)
        slot = this.#next[slot - 1] ?? NONE
      }
      if (slots.length > 0) yield slots
    }
  }

  #expiredIn(bucket: number, nowMs: number): number | undefined {
    if (bucket === this.#lookedInto && nowMs < this.#firstDueMs) return undefined
    let firstDueMs = Number.POSITIVE_INFINITY
    let slot = this.#heads[bucket % this.#heads.length] ?? NONE
    while (slot !== NONE) {
      const expiresAtMs = this.#expiresAtMs(slot - 1)
      if (expiresAtMs <= nowMs) return slot - 1
      firstDueMs = Math.min(firstDueMs, expiresAtMs)
      slot = this.#next[slot - 1] ?? NONE
    }
    this.#lookedInto = bucket
    this.#firstDueMs = firstDueMs
    return undefined
  }

  #listOf(slot: number): number {
    // `>>> 0` cuts the quotient to an integer that V8 knows to be one.
    return ((this.#expiresAtMs(slot) / BUCKET_MS) >>> 0) % this.#heads.length
  }
}

// Takes out expired entries periodically, in slices so short that no handshake waits for them.

const PERIOD_MS = 100
/** Longest time in ms that the sweeper blocks the event loop at once. */
const SLICE_MS = 5
/** Entries taken out between two readings of the clock. */
const ENTRIES_PER_LOOK = 32

export class Sweeper {
  /** Durations of the slices that took out something. */
  readonly durations = new DurationHistogram()
  readonly #stores: readonly SessionStore[]
  readonly #clock: Clock
  #periodic: Timer | undefined
  #continuation: Timer | undefined

  constructor(stores: Iterable<SessionStore>, clock: Clock) {
    this.#stores = [...stores]
    this.#clock = clock
  }

  start(): void {
    this.#periodic ??= every(this.#clock, PERIOD_MS, () => {
      if (this.#continuation === undefined) this.#sweepSlice()
    })
  }

  stop(): void {
    this.#periodic?.cancel()
    this.#continuation?.cancel()
    this.#periodic = undefined
    this.#continuation = undefined
  }

  #sweepSlice(): void {
    this.#continuation = undefined
    const startMs = this.#clock.monotonicMs()
    let swept = 0
    let isMoreLeft = false
    for (const store of this.#stores) {
      while (!isMoreLeft && store.sweepOne()) {
        swept += 1
        const isTimeToLook = swept % ENTRIES_PER_LOOK === 0
        isMoreLeft = isTimeToLook && this.#clock.monotonicMs() - startMs >= SLICE_MS
      }
    }
    if (swept > 0) this.durations.observe(this.#clock.monotonicMs() - startMs)
    // The next slice runs after the input that already waits on sockets.
    if (isMoreLeft) this.#continuation = this.#clock.soon(() => this.#sweepSlice())
  }
}
