// Bytes to and from text. Session IDs are public (they cross the wire in clear), sessions are not.

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

/** A Buffer over the same memory. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
