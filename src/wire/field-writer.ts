// Protobuf fields written straight into a buffer, for what is encoded at every put: no object and no
// copy a field. The bytes are the same as protobufjs writes from the schema: fields that are zero or empty
// are left out.
//
// Each function writes the field that begins with this tag byte, its number and wire type, at `at`, and returns
// where the next byte goes: a number that the compiler keeps in a register (measured: half the time of a writer
// that keeps it in a field). Its caller made sure that there is room.

/** Tag of one byte and value of a fixed64. */
export const FIXED64_FIELD_BYTES = 9

/** Up to here a plain loop is faster than a call into native code. */
const MAX_LOOP_BYTES = 16

/** Bytes of an unsigned 32-bit number as a varint. */
export function varintBytes(value: number): number {
  let bytes = 1
  for (let left = value >>> 7; left > 0; left >>>= 7) bytes += 1
  return bytes
}

/** Bytes of a field that is as long as this. */
export function bytesFieldBytes(length: number): number {
  return length === 0 ? 0 : 1 + varintBytes(length) + length
}

export function varintFieldBytes(value: number): number {
  return value === 0 ? 0 : 1 + varintBytes(value)
}

export function writeVarintField(buffer: Buffer, at: number, tag: number, value: number): number {
  if (value === 0) return at
  buffer[at] = tag
  return writeVarint(buffer, at + 1, value)
}

/** `value` is a safe integer of 0 or more; written also when it is zero. Little endian, as in all of protobuf. */
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

/** `length` is that of the text in UTF-8. */
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

/** Tag and length of what is written next: bytes, text or a message. */
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
