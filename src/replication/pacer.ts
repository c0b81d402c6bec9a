// Long work in short turns: whoever copies a whole store steps aside for what waits on the sockets.

import type { Clock } from '../base/clock.ts'

/** Longest time that copying holds the event loop at once. */
const TURN_MS = 2

export class Pacer {
  readonly #clock: Clock
  #turnEndMs: number

  constructor(clock: Clock) {
    this.#clock = clock
    this.#turnEndMs = clock.monotonicMs() + TURN_MS
  }

  /** Whether it is time for `pause`. */
  get isOver(): boolean {
    return this.#clock.monotonicMs() >= this.#turnEndMs
  }

  /** Resolves when the I/O that is already waiting was handled; a new turn begins. */
  async pause(): Promise<void> {
    await new Promise<void>((resolve) => this.#clock.soon(resolve))
    this.#turnEndMs = this.#clock.monotonicMs() + TURN_MS
  }
}
