// A view of a session in the store's memory, for callers that copy the bytes to where they need them.

import { copyLongs, wholeLongs } from '../base/bytes.ts'
import { NO_PAGE, type Page, pageOf } from './arena.ts'
import type { Version } from './versions.ts'

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

// Makes the copies of sessions that callers get: cuts them from a slab, each at a multiple of 8 bytes.

/** Bytes of a slab, unless one session is larger. A caller that keeps one copy keeps its whole slab in memory. */
const SLAB_BYTES = 32_768

export interface StoredSession {
  /** A copy that belongs to the caller. */
  readonly session: Buffer
  readonly ttlMs: number
}

export interface PeekedSession extends StoredSession {
  readonly version: Version
  readonly context: Buffer
  readonly serverName: string
}

export class SessionCopies {
  #slab = Buffer.alloc(0)
  #longs = new BigUint64Array(0)
  #usedBytes = 0

  /** A copy of `length` bytes of the page from offset `start` on, which is a multiple of 8. */
  take(page: Page, start: number, length: number): Buffer {
    const taken = wholeLongs(length)
    if (this.#usedBytes + taken > this.#slab.length) this.#begin(taken)
    const at = this.#usedBytes
    this.#usedBytes += taken
    copyLongs(page.longs, start >>> 3, this.#longs, at >>> 3, taken >>> 3)
    return this.#slab.subarray(at, at + length)
  }

  #begin(bytes: number): void {
    this.#slab = Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, bytes))
    this.#longs = new BigUint64Array(this.#slab.buffer)
    this.#usedBytes = 0
  }
}
