// Reads and writes protobuf fields straight in a buffer, one after the other in an order that the caller knows: for
// messages that are encoded and decoded at every put.
//
// Each function of the reader reads the field that begins with the given tag byte (its number and wire type). Where
// another field begins it reads nothing and returns the value that stands for an absent field. Malformed bytes move the
// reader beyond the end, where it finds no more fields: a caller that compares `at` with the expected end has checked
// for all of them.

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

// Writes protobuf fields straight into a buffer, without an object or a copy per field: for messages that are encoded
// at every put. The bytes are those that protobufjs writes from the schema: fields that are zero or empty are left out.
//
// Each function writes a field with the given tag byte (its number and wire type) at offset `at` and returns the offset
// after it, a number that the compiler keeps in a register (measured: half the time of a writer that keeps it in an
// object). The caller makes sure that there is room.

/** Bytes of a fixed64 field: a tag of one byte and the value. */
export const FIXED64_FIELD_BYTES = 9

/** Up to this many bytes a plain loop is faster than a call into native code. */
const MAX_LOOP_BYTES = 16

/** Bytes of an unsigned 32-bit number as a varint. */
export function varintBytes(value: number): number {
  let bytes = 1
  for (let left = value >>> 7; left > 0; left >>>= 7) bytes += 1
  return bytes
}

/** Bytes of a field with `length` bytes of content, tag and length included; 0 for an empty one. */
export function bytesFieldBytes(length: number): number {
  return length === 0 ? 0 : 1 + varintBytes(length) + length
}

/** Bytes of a varint field with this value, its tag included; 0 for the value 0. */
export function varintFieldBytes(value: number): number {
  return value === 0 ? 0 : 1 + varintBytes(value)
}

export function writeVarintField(buffer: Buffer, at: number, tag: number, value: number): number {
  if (value === 0) return at
  buffer[at] = tag
  return writeVarint(buffer, at + 1, value)
}

/** Writes a safe integer of 0 or more, little endian; unlike the other fields also when it is zero. */
export function writeFixed64Field(buffer: Buffer, at: number, tag: number, value: number): number {
  const low = value >>> 0
  const high = (value - low) / 2 ** 32
  buffer[at] = tag
  buffer[at + 1] = low
  buffer[at + 2] = low >>> 8
  buffer[at + 3] = low >>> 16
  buffer[at + 4] = low >>> 24
  buffer[at + 5] = high
  buffer[at + 6] = high >>> 8
  buffer[at + 7] = high >>> 16
  buffer[at + 8] = high >>> 24
  return at + FIXED64_FIELD_BYTES
}

export function writeBytesField(
  buffer: Buffer,
  at: number,
  tag: number,
  bytes: Uint8Array,
): number {
  const { length } = bytes
  if (length === 0) return at
  const start = writeLengthField(buffer, at, tag, length)
  if (length > MAX_LOOP_BYTES) buffer.set(bytes, start)
  else for (let index = 0; index < length; index += 1) buffer[start + index] = bytes[index] ?? 0
  return start + length
}

/** Writes text in UTF-8, where it has `length` bytes. */
export function writeTextField(
  buffer: Buffer,
  at: number,
  tag: number,
  text: string,
  length: number,
): number {
  if (length === 0) return at
  const start = writeLengthField(buffer, at, tag, length)
  return start + buffer.write(text, start, 'utf8')
}

/** Writes tag and length of a field whose content, bytes, text or a message, the caller writes next. */
export function writeLengthField(buffer: Buffer, at: number, tag: number, length: number): number {
  buffer[at] = tag
  return writeVarint(buffer, at + 1, length)
}

function writeVarint(buffer: Buffer, start: number, value: number): number {
  let at = start
  let left = value
  while (left > 0x7f) {
    buffer[at] = (left & 0x7f) | 0x80
    at += 1
    left >>>= 7
  }
  buffer[at] = left
  return at + 1
}
