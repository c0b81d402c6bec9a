// The hybrid logical clock that versions are made of (Kulkarni et al. 2014), in one safe integer:
// milliseconds since 2024 times 4096, plus a counter. It never falls behind a version already seen,
// so a wall clock that is wrong neither loses nor resurrects anything.

import type { Clock } from '../base/clock.ts'

/** 2024-01-01T00:00:00Z. 41 bits of milliseconds last until 2093. */
const EPOCH_MS = 1_704_067_200_000
const TICKS_PER_MS = 4096

/** Half of the safe integers, the year 2058: what a peer claims beyond it is malformed. */
export const MAX_VERSION_CLOCK = 2 ** 52
/** The year 2057: what is above it is not gone by, so that counting on never reaches the end. */
const MAX_FOLLOWED = MAX_VERSION_CLOCK - 2 ** 47

/** How long one reading of the wall clock does: to read it takes longer than to make a version. */
const READING_MS = 1

export class VersionClock {
  readonly #clock: Clock
  #last = 0
  #wallMs = 0
  /** On the monotonic clock. */
  #readAgainMs = Number.NEGATIVE_INFINITY

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** A reading above every one given or observed before. `nowMs`: from a caller who read the clock already. */
  next(nowMs = this.#clock.monotonicMs()): number {
    const wall = Math.floor(this.wallMs(nowMs) - EPOCH_MS) * TICKS_PER_MS
    this.#last = Math.max(wall < MAX_FOLLOWED ? wall : 0, this.#last + 1)
    return this.#last
  }

  /** What the wall clock says, a millisecond ago at most. */
  wallMs(nowMs: number): number {
    if (nowMs >= this.#readAgainMs) {
      this.#wallMs = this.#clock.wallMs()
      this.#readAgainMs = nowMs + READING_MS
    }
    return this.#wallMs
  }

  /** Takes note of a reading that another node gave, at most MAX_VERSION_CLOCK. */
  observe(reading: number): void {
    if (reading > this.#last && reading < MAX_FOLLOWED) this.#last = reading
  }
}
