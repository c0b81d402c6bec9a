// Where a session lies in the store, for callers that copy it to where they want it.

import type { Version } from './change.ts'

/** Holds until the store changes. */
export class SessionView {
  readonly ttlMs: number
  /** `length` bytes from `start` on are the session's. */
  readonly bytes: Buffer
  readonly start: number
  readonly length: number
  /** Where clock and origin of its version are. */
  readonly #doubles: Float64Array
  readonly #versionAt: number

  constructor(
    ttlMs: number,
    bytes: Buffer,
    doubles: Float64Array,
    start: number,
    length: number,
    versionAt: number,
  ) {
    this.ttlMs = ttlMs
    this.bytes = bytes
    this.start = start
    this.length = length
    this.#doubles = doubles
    this.#versionAt = versionAt
  }

  get version(): Version {
    const clock = this.#doubles[this.#versionAt] ?? 0
    return { clock, origin: this.#doubles[this.#versionAt + 1] ?? 0 }
  }

  /** The caller's own copy. */
  get session(): Buffer {
    return Buffer.from(this.bytes.subarray(this.start, this.start + this.length))
  }

  /** The same upon these bytes, a copy if none are given: it holds for ever. */
  detached(bytes = this.session): SessionView {
    const { clock, origin } = this.version
    const doubles = Float64Array.of(clock, origin)
    return new SessionView(this.ttlMs, bytes, doubles, 0, bytes.length, 0)
  }
}
