// Reads protobuf fields straight from a buffer, one after the other in an order that the caller knows: for messages
// that are decoded at every put. field-writer.ts writes them.
//
// Each function reads the field that begins with the given tag byte (its number and wire type). Where another field
// begins it reads nothing and returns the value that stands for an absent field. Malformed bytes move the reader beyond
// the end, where it finds no more fields: a caller that compares `at` with the expected end has checked for all of
// them.

const FIXED64_BYTES = 8
/** Most bytes of an unsigned 32-bit number as a varint; the last of five holds four bits. */
const MAX_VARINT_BYTES = 5
const MAX_LAST_BITS = 0x0f
const NO_BYTES = new Uint8Array(0)

export class FieldReader {
  readonly #bytes: Buffer
  readonly #memory: ArrayBufferLike
  readonly #memoryAt: number
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
    // These are kept since each read of them calls native code.
    this.#memory = bytes.buffer
    this.#memoryAt = bytes.byteOffset
  }

  /** Offset of the next field; beyond the end of the bytes after malformed ones. */
  get at(): number {
    return this.#at
  }

  isAt(tag: number): boolean {
    return this.#bytes[this.#at] === tag
  }

  /** Reads an unsigned 32-bit number, or the length in front of bytes, text or a message; 0 when absent. */
  varint(tag: number): number {
    if (this.#bytes[this.#at] !== tag) return 0
    let value = 0
    for (let count = 0; count < MAX_VARINT_BYTES; count += 1) {
      this.#at += 1
      const byte = this.#bytes[this.#at] ?? 0x80
      if (count === MAX_VARINT_BYTES - 1 && byte > MAX_LAST_BITS) break
      value |= (byte & 0x7f) << (7 * count)
      if (byte > 0x7f) continue
      this.#at += 1
      return value >>> 0
    }
    this.#break()
    return 0
  }

  /** Reads an unsigned 64-bit number, exact up to 2^53; NaN when absent or cut off. */
  fixed64(tag: number): number {
    const bytes = this.#bytes
    const at = this.#at
    if (bytes[at] !== tag) return Number.NaN
    this.#at = at + 1 + FIXED64_BYTES
    if (this.#at > bytes.length) return Number.NaN
    return bytes.readUInt32LE(at + 1) + bytes.readUInt32LE(at + 5) * 2 ** 32
  }

  /** Reads bytes, as a view of the same memory; empty when absent. */
  bytes(tag: number): Uint8Array {
    const start = this.#skip(tag)
    const length = this.#at - start
    return length === 0 ? NO_BYTES : new Uint8Array(this.#memory, this.#memoryAt + start, length)
  }

  /** Reads bytes like `bytes`, but returns `like` itself when it has the same content. */
  bytesLike(tag: number, like: Uint8Array): Uint8Array {
    const { length } = like
    const before = this.#at
    const start = this.#skip(tag)
    let isSame = this.#at - start === length
    for (let index = 0; isSame && index < length; index += 1) {
      isSame = this.#bytes[start + index] === like[index]
    }
    if (isSame) return like
    this.#at = before
    return this.bytes(tag)
  }

  /** Reads ASCII text, other text counts as malformed; empty when absent. */
  ascii(tag: number): string {
    const start = this.#skip(tag)
    const end = this.#at
    for (let at = start; at < end; at += 1) {
      if ((this.#bytes[at] ?? 0) <= 0x7f) continue
      this.#break()
      return ''
    }
    return start === end ? '' : this.#bytes.toString('latin1', start, end)
  }

  /** Moves to the end of a field that has a length, and returns the offset of its content. */
  #skip(tag: number): number {
    const length = this.varint(tag)
    const start = this.#at
    this.#at = start + length
    if (this.#at <= this.#bytes.length) return start
    this.#break()
    return this.#at
  }

  #break(): void {
    this.#at = this.#bytes.length + 1
  }
}
