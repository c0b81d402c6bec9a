// Protobuf fields written straight into a buffer, for what is encoded at every put: no object and no
// copy a field. The bytes are the same as protobufjs writes from the schema: fields that are zero or empty
// are left out.

/** Most bytes of a 32-bit varint. */
const VARINT_BYTES = 5
/** Tag of one byte and value of a fixed64. */
export const FIXED64_FIELD_BYTES = 9

const WIRE_VARINT = 0
const WIRE_FIXED64 = 1
const WIRE_BYTES = 2

/** Bytes of an unsigned 32-bit number as a varint. */
export function varintBytes(value: number): number {
  let bytes = 1
  for (let left = value >>> 7; left > 0; left >>>= 7) bytes += 1
  return bytes
}

/** Bytes of a field that is as long as this, its number below 16. */
export function bytesFieldBytes(length: number): number {
  return length === 0 ? 0 : 1 + varintBytes(length) + length
}

export function varintFieldBytes(value: number): number {
  return value === 0 ? 0 : 1 + varintBytes(value)
}

/** Writes one field behind the other; who uses it made sure that there is room. */
export class FieldWriter {
  readonly buffer: Buffer
  /** Where the next byte goes. */
  at: number

  constructor(buffer: Buffer, at: number) {
    this.buffer = buffer
    this.at = at
  }

  varintField(field: number, value: number): void {
    if (value === 0) return
    this.#tag(field, WIRE_VARINT)
    this.varint(value)
  }

  /** `value` is a safe integer of 0 or more; written also when it is zero. */
  fixed64Field(field: number, value: number): void {
    this.#tag(field, WIRE_FIXED64)
    const low = value >>> 0
    this.#word(low)
    this.#word((value - low) / 2 ** 32)
  }

  bytesField(field: number, bytes: Uint8Array): void {
    if (bytes.length === 0) return
    this.lengthField(field, bytes.length)
    this.buffer.set(bytes, this.at)
    this.at += bytes.length
  }

  /** `length` is that of the text in UTF-8. */
  textField(field: number, text: string, length: number): void {
    if (length === 0) return
    this.lengthField(field, length)
    this.at += this.buffer.write(text, this.at, 'utf8')
  }

  /** Tag and length of what is written next: bytes, text or a message. */
  lengthField(field: number, length: number): void {
    this.#tag(field, WIRE_BYTES)
    this.varint(length)
  }

  varint(value: number): void {
    let left = value
    for (let count = 1; left > 0x7f && count < VARINT_BYTES; count += 1) {
      this.buffer[this.at] = (left & 0x7f) | 0x80
      this.at += 1
      left >>>= 7
    }
    this.buffer[this.at] = left
    this.at += 1
  }

  #tag(field: number, wireType: number): void {
    this.buffer[this.at] = (field << 3) | wireType
    this.at += 1
  }

  /** Little endian, as in all of protobuf. */
  #word(value: number): void {
    const { buffer, at } = this
    buffer[at] = value
    buffer[at + 1] = value >>> 8
    buffer[at + 2] = value >>> 16
    buffer[at + 3] = value >>> 24
    this.at = at + 4
  }
}
