// A view of a session in the store's memory, for callers that copy the bytes to where they need them.

import { copyLongs, wholeLongs } from '../base/bytes.ts'
import { NO_PAGE, type Page, pageOf } from './arena.ts'
import type { Version } from './change.ts'

/** Shows one session at a time, so that a get allocates nothing. It is valid until the store changes. */
export class SessionView {
  #ttlMs = 0
  #start = 0
  #length = 0
  #page = NO_PAGE
  #versionAt = 0

  /** Sets the view onto a session at `start`, a multiple of 8. `versionAt` is the index of its version in `doubles`. */
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

  /** Offset of the session in `bytes`, where it takes `length` bytes. */
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

  /** A copy of the session that belongs to the caller. */
  get session(): Buffer {
    return Buffer.from(this.bytes.subarray(this.start, this.start + this.length))
  }

  copyTo(target: Buffer, at: number): void {
    this.bytes.copy(target, at, this.#start, this.#start + this.#length)
  }

  /** Copies the session to u64 number `at` of the target; any bytes may follow it in its last u64. */
  copyLongsTo(target: BigUint64Array, at: number): void {
    copyLongs(this.#page.longs, this.#start >>> 3, target, at, wholeLongs(this.#length) >>> 3)
  }

  /**
   * A view with memory of its own, which stays valid when the store changes: of this session, or of `bytes` in its
   * place.
   */
  detached(bytes: Buffer = this.session): SessionView {
    const { clock, origin } = this.version
    const versionBytes = 2 * Float64Array.BYTES_PER_ELEMENT
    const page = pageOf(new ArrayBuffer(versionBytes + wholeLongs(bytes.length)))
    page.doubles.set([clock, origin])
    page.bytes.set(bytes, versionBytes)
    return new SessionView().set(this.ttlMs, page, versionBytes, bytes.length, 0)
  }
}
