// Which sequence numbers of one stream arrived: a sliding bitmap that lets each through once and
// knows the gaps. A number is at any time either arrived, missing, or below the window.

/** How many numbers up to the highest one the window distinguishes; 8 KiB of bits. */
export const WINDOW_SIZE = 65_536
const WORD_BITS = 32
const ALL_ARRIVED = 2 ** WORD_BITS - 1

/** What a number is to the window; `old` when it is at or below the floor, where the window no longer knows it. */
export type Arrival = 'new' | 'duplicate' | 'old'

/** Consecutive sequence numbers, both ends included. */
export interface SequenceRange {
  readonly from: number
  readonly to: number
}

export class ReplayWindow {
  readonly #bits = new Uint32Array(WINDOW_SIZE / WORD_BITS)
  #floor: number
  #highest: number
  #missing = 0
  #lost = 0

  /** The window starts empty; numbers up to `floor` are old from the beginning. */
  constructor(floor = 0) {
    this.#floor = floor
    this.#highest = floor
  }

  /** The highest number known to have been sent; the first floor when there is none. */
  get highest(): number {
    return this.#highest
  }

  /** How many numbers are missing: known to have been sent, not arrived, and still in the window. */
  get missingCount(): number {
    return this.#missing
  }

  /** How many numbers were missing when they fell out of the window or were given up. */
  get lostCount(): number {
    return this.#lost
  }

  /** Notes that `sequence` arrived, and returns whether it is new. */
  accept(sequence: number): Arrival {
    if (sequence <= this.#floor) return 'old'
    if (sequence > this.#highest) {
      this.#advance(sequence)
      this.#set(sequence)
      return 'new'
    }
    if (this.#has(sequence)) return 'duplicate'
    this.#set(sequence)
    this.#missing -= 1
    return 'new'
  }

  /** Notes that all numbers up to `sequence` were sent: those that did not arrive are missing from now on. */
  expect(sequence: number): void {
    if (sequence <= this.#highest) return
    this.#advance(sequence)
    this.#missing += 1
  }

  /** The missing numbers from `first` to `last`, as at most `limit` ranges, the lowest first. */
  missing(limit: number, first = 1, last = this.#highest): SequenceRange[] {
    const ranges: SequenceRange[] = []
    const end = Math.min(last, this.#highest)
    let sequence = Math.max(first, this.#floor + 1)
    while (ranges.length < limit) {
      sequence = this.#skipArrived(sequence, end)
      if (sequence > end) break
      const from = sequence
      while (sequence <= end && !this.#has(sequence)) sequence += 1
      ranges.push({ from, to: sequence - 1 })
    }
    return ranges
  }

  /**
   * Stops waiting for missing numbers up to `sequence`: they count as lost, and all up to there are old from now on.
   */
  giveUp(sequence: number): void {
    const until = Math.min(sequence, this.#highest)
    while (this.#floor < until) {
      this.#floor += 1
      if (!this.#has(this.#floor)) this.#lose(1)
    }
  }

  /** Moves the window up to `sequence`, which is not counted yet; the new numbers below it are missing. */
  #advance(sequence: number): void {
    const newFloor = sequence - WINDOW_SIZE
    if (newFloor >= this.#highest) {
      this.#lost += this.#missing + newFloor - this.#highest
      this.#missing = sequence - 1 - newFloor
      this.#bits.fill(0)
    } else {
      if (newFloor > this.#floor) this.giveUp(newFloor)
      for (let next = this.#highest + 1; next <= sequence; next += 1) this.#clear(next)
      this.#missing += sequence - 1 - this.#highest
    }
    this.#floor = Math.max(this.#floor, newFloor)
    this.#highest = sequence
  }

  /** The first number from `sequence` on that did not arrive; above `end` when all did. */
  #skipArrived(sequence: number, end: number): number {
    let next = sequence
    while (next <= end && this.#has(next)) {
      const slot = next % WINDOW_SIZE
      const isWordFull = this.#bits[Math.floor(slot / WORD_BITS)] === ALL_ARRIVED
      next += isWordFull ? WORD_BITS - (slot % WORD_BITS) : 1
    }
    return next
  }

  #lose(count: number): void {
    this.#missing -= count
    this.#lost += count
  }

  #has(sequence: number): boolean {
    const slot = sequence % WINDOW_SIZE
    return (((this.#bits[Math.floor(slot / WORD_BITS)] ?? 0) >>> (slot % WORD_BITS)) & 1) === 1
  }

  #set(sequence: number): void {
    const slot = sequence % WINDOW_SIZE
    const word = Math.floor(slot / WORD_BITS)
    this.#bits[word] = (this.#bits[word] ?? 0) | (1 << (slot % WORD_BITS))
  }

  #clear(sequence: number): void {
    const slot = sequence % WINDOW_SIZE
    const word = Math.floor(slot / WORD_BITS)
    this.#bits[word] = (this.#bits[word] ?? 0) & ~(1 << (slot % WORD_BITS))
  }
}
