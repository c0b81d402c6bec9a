// Makes the copies of sessions that callers get: cuts them from a slab, each at a multiple of 8 bytes.

import { copyLongs, wholeLongs } from '../base/bytes.ts'
import type { Page } from './arena.ts'
import type { Version } from './change.ts'

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
