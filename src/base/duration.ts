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
