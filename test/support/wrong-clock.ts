// The time of day that a program believes in, by libfaketime; its monotonic clock stays right.

import { execFileSync } from 'node:child_process'

/** Variables that make a program believe in another time. The seconds stay as long as they are. */
export function clockEnvironment(skewMs: number): Record<string, string> {
  if (skewMs === 0) return {}
  // The wrapper knows where the library is, but stays between us and the program, and keeps our signals.
  const library = execFileSync('faketime', ['-m', '-f', '+0s', 'printenv', 'LD_PRELOAD'])
  return {
    LD_PRELOAD: library.toString().trim(),
    FAKETIME: `${skewMs < 0 ? '' : '+'}${skewMs / 1000}s`,
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
  }
}
