// Conversions and copies of bytes. Session IDs are public (they cross the wire in clear), sessions are not.

import { TlscachedError } from './errors.ts'

const LOGGED_ID_BYTES = 4

/** Parses hexadecimal digits. Throws ERR_HEX, where Node would silently stop at the first wrong digit. */
export function parseHex(text: string): Buffer {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) throw new TlscachedError('ERR_HEX')
  return Buffer.from(text, 'hex')
}

/** The first bytes of a session ID in hex: all that a log line ever shows of it. */
export function idPrefix(id: Uint8Array): string {
  const shown = Buffer.from(id.buffer, id.byteOffset, Math.min(id.length, LOGGED_ID_BYTES))
  return `${shown.toString('hex')}..`
}

/** Returns a Buffer over the memory of `bytes`; nothing is copied. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** Rounds a number of bytes up to a multiple of 8, the size of a u64. */
export function wholeLongs(bytes: number): number {
  return (bytes + 7) & ~7
}

/** Copies `count` u64. For a few hundred bytes this is faster than Buffer.copy, which creates a view first. */
export function copyLongs(
  source: BigUint64Array,
  from: number,
  target: BigUint64Array,
  to: number,
  count: number,
): void {
  let at = 0
  // Copy four per step, and read all four before writing: after a write V8 loads the address of each array again.
  for (; at + 4 <= count; at += 4) {
    const a = source[from + at] ?? 0n
    const b = source[from + at + 1] ?? 0n
    const c = source[from + at + 2] ?? 0n
    const d = source[from + at + 3] ?? 0n
    target[to + at] = a
    target[to + at + 1] = b
    target[to + at + 2] = c
    target[to + at + 3] = d
  }
  for (; at < count; at += 1) target[to + at] = source[from + at] ?? 0n
}
