// Where a session lies in the store, for callers that copy it to where they want it.

import { endianness } from 'node:os'
import { createPage, NO_PAGE, type Page } from './arena.ts'
import type { Version } from './change.ts'

export const IS_LITTLE_ENDIAN = endianness() === 'LE'
/** Up to here a loop over words takes less time than a call into Node's native code. */
const MAX_LOOP_BYTES = 512

/** Set onto one session at a time, so that a get allocates nothing. What it returns holds until the store changes. */
export class SessionView {
  #ttlMs = 0
  #start = 0
  #length = 0
  #page = NO_PAGE
  #versionAt = 0

  /** `start`: a multiple of 4. `versionAt`: where clock and origin of its version are, in doubles. */
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

  /** Writes the session to byte `at`, and up to three bytes behind it. `view`: of the same memory as `target`. */
  copyTo(target: Buffer, view: DataView, at: number): void {
    const { start, length } = this
    if (length > MAX_LOOP_BYTES) {
      this.bytes.copy(target, at, start, start + length)
      return
    }
    const { words } = this.#page
    const first = start >>> 2
    const last = first + ((length + 3) >>> 2)
    let from = first
    let to = at
    // Eight a step, read before they are written: V8 looks up anew where `words` lies whenever something was written.
    for (; from + 8 <= last; from += 8) {
      const a = words[from] ?? 0
      const b = words[from + 1] ?? 0
      const c = words[from + 2] ?? 0
      const d = words[from + 3] ?? 0
      const e = words[from + 4] ?? 0
      const f = words[from + 5] ?? 0
      const g = words[from + 6] ?? 0
      const h = words[from + 7] ?? 0
      view.setUint32(to, a, IS_LITTLE_ENDIAN)
      view.setUint32(to + 4, b, IS_LITTLE_ENDIAN)
      view.setUint32(to + 8, c, IS_LITTLE_ENDIAN)
      view.setUint32(to + 12, d, IS_LITTLE_ENDIAN)
      view.setUint32(to + 16, e, IS_LITTLE_ENDIAN)
      view.setUint32(to + 20, f, IS_LITTLE_ENDIAN)
      view.setUint32(to + 24, g, IS_LITTLE_ENDIAN)
      view.setUint32(to + 28, h, IS_LITTLE_ENDIAN)
      to += 32
    }
    for (; from < last; from += 1) {
      view.setUint32(to, words[from] ?? 0, IS_LITTLE_ENDIAN)
      to += 4
    }
  }

  /** The same upon these bytes, a copy if none are given: it holds for ever. */
  detached(bytes: Buffer = this.session): SessionView {
    const { clock, origin } = this.version
    const versionBytes = 2 * Float64Array.BYTES_PER_ELEMENT
    const page = createPage(versionBytes + bytes.length)
    page.doubles.set([clock, origin])
    page.bytes.set(bytes, versionBytes)
    return new SessionView().set(this.ttlMs, page, versionBytes, bytes.length, 0)
  }
}
