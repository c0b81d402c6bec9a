// When each slot's time is over: a ring of buckets of equal length, each a doubly linked list of slots.
// Taking out what expired costs time in proportion to that, never to what is stored.

/** Length of one bucket: how late, at most, the sweeper finds an entry. Gets look at the exact time. */
export const BUCKET_MS = 250

/** How far sweeping may fall behind before old and new slots meet in one bucket, which costs a walk. */
const SLACK_BUCKETS = 240

/** In the lists, 0 means none; a slot stands as its number plus one. */
const NONE = 0

export class Expiry {
  readonly #heads: Uint32Array
  readonly #tails: Uint32Array
  readonly #next: Uint32Array
  readonly #previous: Uint32Array
  readonly #expiresAtMs: (slot: number) => number
  /** Every bucket before this one is empty. */
  #sweptBucket: number
  /** The bucket that was last looked through in vain, and when the first in it expires: not looked into before. */
  #lookedInto = -1
  #firstDueMs = 0

  /**
   * `longestMs`: no slot is ever set further ahead than this. `expiresAtMs`: the exact moment, on the
   * monotonic clock, at which a slot's time is over; the same from `add` to `delete`.
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

  /** Behind the others of its bucket: most have the same lifetime, so that the first one expires first. */
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
   * A slot whose time is over, or undefined when there is none; to be deleted before the next call.
   * Buckets are taken when they are over as a whole; `isExact` looks into the current one, too.
   */
  nextExpired(nowMs: number, isExact = false): number | undefined {
    const nowBucket = Math.floor(nowMs / BUCKET_MS)
    // After a pause longer than the ring, one turn of it visits every bucket there is.
    this.#sweptBucket = Math.max(this.#sweptBucket, nowBucket - this.#heads.length)
    while (this.#sweptBucket < nowBucket) {
      const slot = this.#expiredIn(this.#sweptBucket, nowMs)
      if (slot !== undefined) return slot
      this.#sweptBucket += 1
    }
    return isExact ? this.#expiredIn(nowBucket, nowMs) : undefined
  }

  /** The slots of each bucket as they are when it is reached, those that live longest first. */
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
    // `>>> 0` makes it a division of integers.
    return ((this.#expiresAtMs(slot) / BUCKET_MS) >>> 0) % this.#heads.length
  }
}
