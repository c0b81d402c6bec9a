// Holds the answers of all connections, one after the other in one piece of memory, from when they are written until
// the turn of the event loop ends. So the memory that is written to stays in the processor's cache.

import { wholeLongs } from '../../../base/bytes.ts'
import type { SessionView } from '../../../store/session-view.ts'
import type { Entry } from '../values.ts'

/** Normal size of the memory; more is needed only for a large answer. */
const PIECE_BYTES = 196_608
const WORD_BYTES = 4
const ZERO = 0x30
/** Parts of an answer, as the numbers that a DataView writes. */
const VALU = 0x56414c55
const E_SPACE = 0x4520
const SPACE = 0x20
const LINE_END = 0x0d0a
const END_ = 0x454e440d
const NEWLINE = 0x0a
/** Bytes of the line `VALUE <key> <flags> <length>` and its end, without key and numbers. */
const HEAD_FRAME_BYTES = 10
/** Most bytes that an answer needs after its session (line end and END) and before itself (alignment). */
const MOST_SPARE_BYTES = 16
/** Up to here a plain loop is faster than a call into Node's native code. */
const MAX_LOOP_BYTES = 32
/** Up to here copying whole u64 in a loop is faster than a call into Node's native code. */
const MAX_LONGS_BYTES = 512

export class ReplyBuffer {
  #bytes = Buffer.allocUnsafeSlow(PIECE_BYTES)
  #view = viewOf(this.#bytes)
  #longs = new BigUint64Array(this.#bytes.buffer)
  #length = 0
  /** Whether what is written contains bytes that must not stay in memory. */
  #hasSecrets = false

  get length(): number {
    return this.#length
  }

  /** The memory with the answers, from its start on. It is replaced when it has to grow. */
  get memory(): Buffer {
    return this.#bytes
  }

  /** Writes a text, one byte per character (Latin-1). */
  text(text: string): void {
    const { length } = text
    this.#reserve(length)
    const target = this.#bytes
    const start = this.#length
    this.#length += length
    if (length > MAX_LOOP_BYTES) target.write(text, start, 'latin1')
    else for (let at = 0; at < length; at += 1) target[start + at] = text.charCodeAt(at)
  }

  /** Writes a number, 0 <= number < 2^32, in decimal digits. It makes no string: most answers have two numbers. */
  number(number: number): void {
    const digits = digitsOf(number)
    this.#reserve(digits)
    this.#length += digits
    this.#writeDigits(number, this.#length, digits)
  }

  bytes(bytes: Buffer): void {
    const { length } = bytes
    this.#reserve(length)
    const target = this.#bytes
    const start = this.#length
    this.#length += length
    if (length > MAX_LOOP_BYTES) bytes.copy(target, start)
    else for (let at = 0; at < length; at += 1) target[start + at] = bytes[at] ?? 0
  }

  /** Writes bytes that are erased when they are removed. */
  secret(bytes: Buffer): void {
    this.#hasSecrets = true
    this.bytes(bytes)
  }

  /**
   * Writes the text protocol's `VALUE <key> <flags> <length>`, the session and `END` at once; nearly every answer is
   * that. The key is `keyBytes` bytes from `keyStart` on; up to three bytes after it are read too. Returns where the
   * answer begins, which is up to seven bytes after the end of the last one, so that the session can be copied by whole
   * u64.
   */
  onlyValue(key: DataView, keyStart: number, keyBytes: number, { flags, value }: Entry): number {
    const { length } = value
    const flagsDigits = digitsOf(flags)
    const lengthDigits = digitsOf(length)
    const headBytes = HEAD_FRAME_BYTES + keyBytes + flagsDigits + lengthDigits
    this.#reserve(headBytes + length + MOST_SPARE_BYTES)
    const sessionAt = wholeLongs(this.#length + headBytes)
    const start = sessionAt - headBytes
    if (length > MAX_LONGS_BYTES) value.copyTo(this.#bytes, sessionAt)
    else value.copyLongsTo(this.#longs, sessionAt >>> 3)
    const view = this.#view
    view.setInt32(start, VALU)
    view.setInt16(start + 4, E_SPACE)
    let at = start + 6
    for (let done = 0; done < keyBytes; done += WORD_BYTES) {
      view.setInt32(at + done, key.getInt32(keyStart + done))
    }
    at += keyBytes
    view.setInt8(at, SPACE)
    at += 1 + flagsDigits
    this.#writeDigits(flags, at, flagsDigits)
    view.setInt8(at, SPACE)
    this.#writeDigits(length, at + 1 + lengthDigits, lengthDigits)
    view.setInt16(sessionAt - 2, LINE_END)
    at = sessionAt + length
    view.setInt16(at, LINE_END)
    view.setInt32(at + 2, END_)
    view.setInt8(at + 6, NEWLINE)
    this.#length = at + 7
    return start
  }

  session(session: SessionView): void {
    this.#reserve(session.length)
    session.copyTo(this.#bytes, this.#length)
    this.#length += session.length
  }

  /** Appends `length` zero bytes and returns a view of them, which the caller fills before it writes anything else. */
  zeros(length: number): Buffer {
    this.#reserve(length)
    const start = this.#length
    this.#length += length
    return this.#bytes.subarray(start, this.#length).fill(0)
  }

  /** Removes what was written after the first `length` bytes. */
  truncate(length: number): void {
    if (this.#hasSecrets) {
      this.#bytes.fill(0, length, this.#length)
      this.#hasSecrets = length > 0
    }
    this.#length = length
    if (length === 0 && this.#bytes.length > PIECE_BYTES) this.#use(PIECE_BYTES)
  }

  /** Writes the number with `digits` digits, which end before byte `end`. */
  #writeDigits(number: number, end: number, digits: number): void {
    // V8 then knows that it is a u32 and divides it as an integer.
    let rest = number >>> 0
    for (let at = end - 1; at >= end - digits; at -= 1) {
      const next = (rest / 10) >>> 0
      this.#bytes[at] = ZERO + (rest - 10 * next)
      rest = next
    }
  }

  #reserve(extra: number): void {
    const needed = this.#length + extra
    if (needed > this.#bytes.length) this.#use(wholeLongs(2 * needed))
  }

  /** Replaces the memory by one of this size, which gets the answers that are written already. */
  #use(bytes: number): void {
    const old = this.#bytes
    this.#bytes = Buffer.allocUnsafeSlow(bytes)
    this.#view = viewOf(this.#bytes)
    this.#longs = new BigUint64Array(this.#bytes.buffer)
    old.copy(this.#bytes, 0, 0, this.#length)
    if (this.#hasSecrets) old.fill(0)
  }
}

function digitsOf(number: number): number {
  let digits = 1
  for (let more = number >>> 0; more >= 10; more = (more / 10) >>> 0) digits += 1
  return digits
}

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
}
