// What doctor says: one finding for each thing it looked at, with how bad it is and what to type.

export const CHECKS = [
  'configuration',
  'process',
  'problems',
  'keys',
  'sockets',
  'ports',
  'peers',
  'path',
  'clock',
  'buffers',
  'files',
  'memory',
  'core',
  'swap',
  'terminator',
] as const
/** What was looked at. */
export type Check = (typeof CHECKS)[number]

export const LEVELS = ['error', 'warning', 'ok'] as const
/** `error`: it does not work. `warning`: it works now, and may not later or elsewhere. */
export type Level = (typeof LEVELS)[number]

export interface Finding {
  readonly check: Check
  readonly level: Level
  readonly message: string
  /** What to type or to change; empty where nothing is wrong. */
  readonly fix: string
}

/** Makes the findings of one check. */
export function findingsAbout(check: Check) {
  return {
    ok: (message: string): Finding => ({ check, level: 'ok', message, fix: '' }),
    warning: (message: string, fix: string): Finding => ({ check, level: 'warning', message, fix }),
    error: (message: string, fix: string): Finding => ({ check, level: 'error', message, fix }),
  }
}

/** Whether there is no error among the findings. */
export function isHealthy(findings: readonly Finding[]): boolean {
  return findings.every(({ level }) => level !== 'error')
}

/** Returns the findings as lines for people, the worst ones last, where a terminal shows them. */
export function linesOf(findings: readonly Finding[]): readonly string[] {
  const worstLast = findings.toSorted((a, b) => LEVELS.indexOf(b.level) - LEVELS.indexOf(a.level))
  const lines = worstLast.flatMap(({ check, level, message, fix }) => [
    `${level.padEnd(8)} ${check.padEnd(14)} ${message}`,
    ...(fix === '' ? [] : [`${' '.repeat(23)} -> ${fix}`]),
  ])
  const count = (level: Level) => findings.filter((finding) => finding.level === level).length
  const counted = (level: Level) => `${count(level)} ${level}${count(level) === 1 ? '' : 's'}`
  return [...lines, `${counted('error')}, ${counted('warning')}, ${count('ok')} ok`]
}
