// Takes out expired entries periodically, in slices so short that no handshake waits for them.

import { type Clock, every, type Timer } from '../base/clock.ts'
import { DurationHistogram } from '../base/histogram.ts'
import type { SessionStore } from './session-store.ts'

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
