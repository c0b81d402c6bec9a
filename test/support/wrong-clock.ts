// The time of day that a program believes in, by libfaketime; its monotonic clock stays right.

import { execFileSync } from 'node:child_process'

/** Variables that make a program believe in another time. The seconds stay as long as they are. */
export function clockEnvironment(skewMs: number): Record<string, string> {
  if (skewMs === 0) return {}
  return { ...preloaded(), FAKETIME: `${skewMs < 0 ? '' : '+'}${skewMs / 1000}s` }
}

/**
 * Variables that make a program believe in what a file says of the time, which it reads again each second: `+0` is the
 * right time, `+10` ten seconds ahead.
 */
export function clockFileEnvironment(file: string): Record<string, string> {
  return { ...preloaded(), FAKETIME_TIMESTAMP_FILE: file, FAKETIME_CACHE_DURATION: '1' }
}

function preloaded(): Record<string, string> {
  // The wrapper knows where the library is, but stays between us and the program, and keeps our signals.
  const library = execFileSync('faketime', ['-m', '-f', '+0s', 'printenv', 'LD_PRELOAD'])
  return { LD_PRELOAD: library.toString().trim(), FAKETIME_DONT_FAKE_MONOTONIC: '1' }
}
