// Divides long work into short turns, so that copying a whole store does not keep the sockets waiting.

import type { Clock } from '../base/clock.ts'

/** Length of a turn: how long the work may hold the event loop at once. */
const TURN_MS = 2

export class Pacer {
  readonly #clock: Clock
  readonly #assertWanted: () => void
  #turnEndMs: number

  /** `assertWanted` throws when the result of the work is no longer needed. */
  constructor(clock: Clock, assertWanted = () => {}) {
    this.#clock = clock
    this.#assertWanted = assertWanted
    this.#turnEndMs = clock.monotonicMs() + TURN_MS
  }

  /** True when the turn is over and `pause` is due. */
  get isOver(): boolean {
    return this.#clock.monotonicMs() >= this.#turnEndMs
  }

  /**
   * Resolves after the I/O that is already waiting was handled, and begins a new turn. Rejects with what `assertWanted`
   * throws.
   */
  async pause(): Promise<void> {
    await new Promise<void>((resolve) => this.#clock.soon(resolve))
    this.#assertWanted()
    this.#turnEndMs = this.#clock.monotonicMs() + TURN_MS
  }
}
