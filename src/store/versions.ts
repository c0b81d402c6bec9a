// Versions of changes: the hybrid logical clock that makes them (Kulkarni et al. 2014), and the changes that carry
// them. A reading is one safe integer: milliseconds since 2024 times 4096, plus a counter. The clock never falls behind
// a reading that it has seen, so a wrong wall clock neither loses changes nor brings back what was removed.

import type { Clock } from '../base/world.ts'

/** The zero of the clock, 2024-01-01T00:00:00Z, in ms since 1970. */
const EPOCH_MS = 1_704_067_200_000
const TICKS_PER_MS = 4096

/**
 * The largest reading in a version, in the year 2058; a change with a larger one is malformed. Only removals have it.
 */
export const MAX_VERSION_CLOCK = 2 ** 52
/** The largest reading in the version of a put, so that a removal can always have a larger one. */
export const MAX_PUT_CLOCK = MAX_VERSION_CLOCK - 1
/**
 * Readings from here on, in the year 2057, do not advance the clock, so that it never counts up to its end: they only
 * matter to later changes of the session ID that has one.
 */
const MAX_FOLLOWED = MAX_VERSION_CLOCK - 2 ** 47

/** How long one reading of the wall clock is used, as reading it takes longer than making a version. */
const READING_MS = 1

/** The versions of the entries that a store holds. */
export interface HeldVersions {
  versionOf(id: Uint8Array): Version | undefined
}

/** The moment of a reading, in ms since 1970 by the clock that made it. */
export function wallMsOf({ clock }: Version): number {
  return EPOCH_MS + Math.floor(clock / TICKS_PER_MS)
}

export class VersionClock {
  readonly #clock: Clock
  #last = 0
  /** Whether a reading of MAX_FOLLOWED or more was observed. */
  #hasPassed = false
  #wallMs = 0
  /** When the wall clock is read again, in ms of the monotonic clock. */
  #readAgainMs = Number.NEGATIVE_INFINITY

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /**
   * A reading above every one returned before or observed below MAX_FOLLOWED. `nowMs` is the time of the monotonic
   * clock, for a caller that has read it already.
   */
  next(nowMs = this.#clock.monotonicMs()): number {
    const wall = Math.floor(this.wallMs(nowMs) - EPOCH_MS) * TICKS_PER_MS
    this.#last = Math.max(wall < MAX_FOLLOWED ? wall : 0, this.#last + 1)
    return this.#last
  }

  /**
   * A reading for a change of this session ID: above that of the entry held under it, or MAX_VERSION_CLOCK when that is
   * what the entry has already.
   */
  nextFor(id: Uint8Array, held: HeldVersions, nowMs: number): number {
    const next = this.next(nowMs)
    // Unless a reading of MAX_FOLLOWED or more was observed, all held ones are below `next`.
    const heldClock = this.#hasPassed ? (held.versionOf(id)?.clock ?? 0) : 0
    return Math.min(MAX_VERSION_CLOCK, Math.max(next, heldClock + 1))
  }

  /** The wall clock in ms since 1970, at most READING_MS old. */
  wallMs(nowMs: number): number {
    if (nowMs >= this.#readAgainMs) {
      this.#wallMs = this.#clock.wallMs()
      this.#readAgainMs = nowMs + READING_MS
    }
    return this.#wallMs
  }

  /** Takes note of a reading in another node's change, at most MAX_VERSION_CLOCK. */
  observe(reading: number): void {
    if (reading <= this.#last) return
    if (reading < MAX_FOLLOWED) this.#last = reading
    else this.#hasPassed = true
  }
}

// Changes of a store: what it reports to its listener, and what peers send.

/**
 * Orders all changes of one session ID on all nodes: the higher `clock` wins, then the higher `origin`.
 * `clock` is a hybrid logical clock reading (`VersionClock`), `origin` the number of the node that made
 * the change; both are safe integers.
 */
export interface Version {
  readonly clock: number
  readonly origin: number
}

/** Cause of a change. `local`: a frontend or a hook. `peer`: another node sent it; such changes are never sent on. */
export type Origin = 'local' | 'peer'

export interface PutChange {
  readonly kind: 'put'
  readonly cache: string
  readonly id: Uint8Array
  /** Session ID context, 0..32 bytes. */
  readonly context: Uint8Array
  /** Server name (SNI) the session was made under; empty when there was none. */
  readonly serverName: string
  /** Encoded session; secret. */
  readonly session: Uint8Array
  /** Remaining lifetime in milliseconds, > 0. */
  readonly ttlMs: number
  /** Milliseconds since the put on the node that made it; absent when that was just now or is not known. */
  readonly ageMs?: number
  readonly version: Version
}

export interface RemoveChange {
  readonly kind: 'remove'
  readonly cache: string
  readonly id: Uint8Array
  /** How many milliseconds the removal must be remembered, > 0. */
  readonly ttlMs: number
  readonly version: Version
}

/** A put or a removal. Its byte arrays belong to the emitter: a listener copies what it keeps after the call. */
export type Change = PutChange | RemoveChange

export type ChangeListener = (change: Change, origin: Origin) => void

/** Compares versions as for sorting: 1 when `a` is newer and wins, -1 when `b` is, 0 when they are equal. */
export function compareVersions(a: Version, b: Version): number {
  return Math.sign(a.clock - b.clock) || Math.sign(a.origin - b.origin)
}
