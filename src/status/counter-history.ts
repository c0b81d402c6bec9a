// Keeps the counts of some counters at past moments in a ring of fixed size, and tells how much each one grew.

export class CounterHistory {
  readonly #counters: number
  readonly #capacity: number
  /** Counts modulo 2^32, all counters of one moment beside each other. */
  readonly #counts: Uint32Array
  #taken = 0

  /** Keeps `counters` counters for `periods` periods, which takes one moment more. */
  constructor(counters: number, periods: number) {
    this.#counters = counters
    this.#capacity = periods + 1
    this.#counts = new Uint32Array(counters * this.#capacity)
  }

  /** Moments taken since the start; the last one has this number. */
  get taken(): number {
    return this.#taken
  }

  /** Periods between the moments that are kept. */
  get periods(): number {
    return Math.max(0, Math.min(this.#taken, this.#capacity) - 1)
  }

  /** Notes what the counters count now, and forgets the oldest moment when there is no room. */
  take(counts: readonly number[]): void {
    const start = (this.#taken % this.#capacity) * this.#counters
    for (let counter = 0; counter < this.#counters; counter += 1) {
      this.#counts[start + counter] = counts[counter] ?? 0
    }
    this.#taken += 1
  }

  /** How much a counter grew in each of the last `most` periods, the oldest first. */
  growths(counter: number, most = this.periods): number[] {
    const growths: number[] = []
    for (let back = Math.min(most, this.periods); back > 0; back -= 1) {
      growths.push((this.#countOf(counter, back - 1) - this.#countOf(counter, back)) >>> 0)
    }
    return growths
  }

  /** How much a counter, which counts `now`, grew since the oldest moment; 0 before the first moment. */
  growthSince(counter: number, now: number): number {
    return this.#taken === 0 ? 0 : (now - this.#countOf(counter, this.periods)) >>> 0
  }

  /** What a counter counted `back` moments before the last one. */
  #countOf(counter: number, back: number): number {
    const moment = (this.#taken - 1 - back) % this.#capacity
    return this.#counts[moment * this.#counters + counter] ?? 0
  }
}
