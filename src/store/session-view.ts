// Where a session lies in the store, for callers that copy it to where they want it.

import { copyLongs, wholeLongs } from '../base/bytes.ts'
import { NO_PAGE, type Page, pageOf } from './arena.ts'
import type { Version } from './change.ts'

/** Set onto one session at a time, so that a get allocates nothing. What it returns holds until the store changes. */
export class SessionView {
  #ttlMs = 0
  #start = 0
  #length = 0
  #page = NO_PAGE
  #versionAt = 0

  /** `start`: a multiple of 8. `versionAt`: where clock and origin of its version are, in doubles. */
  set(ttlMs: number, page: Page, start: number, length: number, versionAt: number): this {
    this.#ttlMs = ttlMs
    this.#start = start
    this.#length = length
    this.#page = page
    this.#versionAt = versionAt
    return this
  }

  get ttlMs(): number {
    return this.#ttlMs
  }

  /** The session is `length` bytes of `bytes` from here on. */
  get start(): number {
    return this.#start
  }

  get length(): number {
    return this.#length
  }

  get bytes(): Buffer {
    return this.#page.bytes
  }

  get version(): Version {
    const { doubles } = this.#page
    const clock = doubles[this.#versionAt] ?? 0
    return { clock, origin: doubles[this.#versionAt + 1] ?? 0 }
  }

  /** The caller's own copy. */
  get session(): Buffer {
    return Buffer.from(this.bytes.subarray(this.start, this.start + this.length))
  }

  copyTo(target: Buffer, at: number): void {
    this.bytes.copy(target, at, this.#start, this.#start + this.#length)
  }

  /** Writes the session to u64 `at`, the last one filled up with anything. */
  copyLongsTo(target: BigUint64Array, at: number): void {
    copyLongs(this.#page.longs, this.#start >>> 3, target, at, wholeLongs(this.#length) >>> 3)
  }

  /** The same upon these bytes, a copy if none are given: it holds for ever. */
  detached(bytes: Buffer = this.session): SessionView {
    const { clock, origin } = this.version
    const versionBytes = 2 * Float64Array.BYTES_PER_ELEMENT
    const page = pageOf(new ArrayBuffer(versionBytes + wholeLongs(bytes.length)))
    page.doubles.set([clock, origin])
    page.bytes.set(bytes, versionBytes)
    return new SessionView().set(this.ttlMs, page, versionBytes, bytes.length, 0)
  }
}
