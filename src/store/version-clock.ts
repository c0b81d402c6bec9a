// The hybrid logical clock that versions are made of (Kulkarni et al. 2014), in one safe integer:
// milliseconds since 2024 times 4096, plus a counter. It never falls behind a version already seen,
// so a wall clock that is wrong neither loses nor resurrects anything.

import type { Clock } from '../base/clock.ts'
import type { Version } from './change.ts'

/** 2024-01-01T00:00:00Z. 41 bits of milliseconds last until 2093. */
const EPOCH_MS = 1_704_067_200_000
const TICKS_PER_MS = 4096

/** The largest clock of a version, in the year 2058: a change with a larger one is malformed. Removals only have it. */
export const MAX_VERSION_CLOCK = 2 ** 52
/** The largest clock of a put: so that there always is a version for the removal of what was put. */
export const MAX_PUT_CLOCK = MAX_VERSION_CLOCK - 1
/** The year 2057. Only the clock of one session ID goes by a larger reading, so that counting on never reaches the end. */
const MAX_FOLLOWED = MAX_VERSION_CLOCK - 2 ** 47

/** How long one reading of the wall clock does: to read it takes longer than to make a version. */
const READING_MS = 1

/** What is held, and under which version. */
export interface HeldVersions {
  versionOf(id: Uint8Array): Version | undefined
}

export class VersionClock {
  readonly #clock: Clock
  #last = 0
  #hasPassed = false
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

  /**
   * A reading for a change of this session ID, above the one of what is held under it, at most MAX_VERSION_CLOCK:
   * so only where that one was MAX_VERSION_CLOCK already it is not above.
   */
  nextFor(id: Uint8Array, held: HeldVersions, nowMs: number): number {
    const next = this.next(nowMs)
    // What was never observed beyond the followed readings is below `next`.
    const heldClock = this.#hasPassed ? (held.versionOf(id)?.clock ?? 0) : 0
    return Math.min(MAX_VERSION_CLOCK, Math.max(next, heldClock + 1))
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
    if (reading <= this.#last) return
    if (reading < MAX_FOLLOWED) this.#last = reading
    else this.#hasPassed = true
  }
}
