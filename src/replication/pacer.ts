// Long work in short turns: whoever copies a whole store steps aside for what waits on the sockets.

import type { Clock } from '../base/clock.ts'

/** Longest time that copying holds the event loop at once. */
const TURN_MS = 2

export class Pacer {
  readonly #clock: Clock
  readonly #assertWanted: () => void
  #turnEndMs: number

  /** `assertWanted` throws when nobody wants the work any more. */
  constructor(clock: Clock, assertWanted = () => {}) {
    this.#clock = clock
    this.#assertWanted = assertWanted
    this.#turnEndMs = clock.monotonicMs() + TURN_MS
  }

  /** Whether it is time for `pause`. */
  get isOver(): boolean {
    return this.#clock.monotonicMs() >= this.#turnEndMs
  }

  /** Resolves when the I/O that is already waiting was handled; a new turn begins. Rejects as `assertWanted` throws. */
  async pause(): Promise<void> {
    await new Promise<void>((resolve) => this.#clock.soon(resolve))
    this.#assertWanted()
    this.#turnEndMs = this.#clock.monotonicMs() + TURN_MS
  }
}
