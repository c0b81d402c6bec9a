// Conversions: bytes, sizes and durations as text and back. Session IDs are public (they cross the wire in clear),
// sessions are not.

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

/**
 * Returns bytes for a secret, all zero, which its owner can erase. Smaller arrays than 65 bytes lie in the heap of
 * JavaScript otherwise, also those of Buffer.alloc, and garbage collection copies them to and fro.
 */
export function secretBytes(size: number): Buffer {
  return Buffer.from(new ArrayBuffer(size))
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

// Durations and sizes as people write them: `300s`, `250ms`, `4KiB`.

const DURATION_MS: Record<string, number> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}
const SIZE_BYTES: Record<string, number> = {
  '': 1,
  B: 1,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
}

/** Regular expressions for the unit of a duration and of a size, as parts of the patterns in the JSON Schema. */
export const DURATION_UNIT = patternOf(DURATION_MS)
export const SIZE_UNIT = patternOf(SIZE_BYTES)

/** Parses `250ms`, `300s`, `5m`, `12h` or `7d` to milliseconds. The unit is required; undefined for any other text. */
export function parseDurationMs(text: string): number | undefined {
  return parseWithUnit(text, DURATION_MS)
}

/** Parses `4096`, `4096B`, `4KiB`, `1MiB` or `1GiB` to bytes; undefined for any other text. */
export function parseSizeBytes(text: string): number | undefined {
  return parseWithUnit(text, SIZE_BYTES)
}

/** Writes a duration with the largest unit of which it is a whole number, as in `5m`. */
export function formatDurationMs(durationMs: number): string {
  for (const unit of ['d', 'h', 'm', 's'] as const) {
    const unitMs = DURATION_MS[unit] ?? 1
    if (durationMs !== 0 && durationMs % unitMs === 0) return `${durationMs / unitMs}${unit}`
  }
  return `${durationMs}ms`
}

function patternOf(units: Record<string, number>): string {
  return `(?:${Object.keys(units).join('|')})`
}

function parseWithUnit(text: string, units: Record<string, number>): number | undefined {
  const match = /^(\d{1,12})([A-Za-z]*)$/.exec(text)
  const factor = match?.[2] === undefined ? undefined : units[match[2]]
  if (match === null || factor === undefined) return undefined
  const value = Number(match[1]) * factor
  return Number.isSafeInteger(value) ? value : undefined
}
