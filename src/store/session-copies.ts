// The copies of sessions that callers get: cut from a slab, and copied by words in a plain loop. For the
// hundred-odd bytes of a session that takes less time than Buffer.copy, which makes a view first.

import type { Page } from './arena.ts'

/** How much memory a caller who keeps one copy keeps at most, unless the session itself is larger. */
const SLAB_BYTES = 32_768

export class SessionCopies {
  #slab = Buffer.alloc(0)
  #words = new Uint32Array(0)
  #usedWords = 0

  /** A copy of `length` bytes from byte `start` of the page, which is a multiple of 4. */
  take(page: Page, start: number, length: number): Buffer {
    const count = (length + 3) >>> 2
    if (this.#usedWords + count > this.#words.length) this.#begin(count)
    const to = this.#usedWords
    this.#usedWords += count
    const from = start >>> 2
    const source = page.words
    const target = this.#words
    for (let index = 0; index < count; index += 1) target[to + index] = source[from + index] ?? 0
    return this.#slab.subarray(to * 4, to * 4 + length)
  }

  #begin(count: number): void {
    this.#slab = Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, count * 4))
    this.#words = new Uint32Array(this.#slab.buffer)
    this.#usedWords = 0
  }
}
