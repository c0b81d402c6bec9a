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
