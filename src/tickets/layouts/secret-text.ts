// Builds text that holds secrets in one Buffer that its owner can fill with zeros. No part of a secret ever becomes a
// string, since strings cannot be erased and their copies stay in the JavaScript heap.

import { secretBytes } from '../../base/bytes.ts'

const HEX_DIGITS = Buffer.from('0123456789abcdef')
const BASE64_DIGITS = Buffer.from(
  'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/',
)
const PADDING = 0x3d

/** Part of a text: words that are no secret, or bytes in one of two spellings. */
export type TextPart = string | { readonly hex: Uint8Array } | { readonly base64: Uint8Array }

/** Joins the parts in memory of their own. */
export function secretText(parts: readonly TextPart[]): Buffer {
  const text = secretBytes(parts.reduce((sum, part) => sum + lengthOf(part), 0))
  let at = 0
  for (const part of parts) {
    if (typeof part === 'string') at += text.write(part, at, 'utf8')
    else if ('hex' in part) at = writeHex(text, at, part.hex)
    else at = writeBase64(text, at, part.base64)
  }
  return text
}

function lengthOf(part: TextPart): number {
  if (typeof part === 'string') return Buffer.byteLength(part)
  return 'hex' in part ? 2 * part.hex.length : 4 * Math.ceil(part.base64.length / 3)
}

function writeHex(text: Buffer, start: number, bytes: Uint8Array): number {
  let at = start
  for (const byte of bytes) {
    text[at] = HEX_DIGITS[byte >> 4] ?? 0
    text[at + 1] = HEX_DIGITS[byte & 15] ?? 0
    at += 2
  }
  return at
}

function writeBase64(text: Buffer, start: number, bytes: Uint8Array): number {
  let at = start
  for (let index = 0; index < bytes.length; index += 3) {
    const [a = 0, b = 0, c = 0] = bytes.subarray(index, index + 3)
    const left = bytes.length - index
    text[at] = BASE64_DIGITS[a >> 2] ?? 0
    text[at + 1] = BASE64_DIGITS[((a & 3) << 4) | (b >> 4)] ?? 0
    text[at + 2] = left > 1 ? (BASE64_DIGITS[((b & 15) << 2) | (c >> 6)] ?? 0) : PADDING
    text[at + 3] = left > 2 ? (BASE64_DIGITS[c & 63] ?? 0) : PADDING
    at += 4
  }
  return at
}
