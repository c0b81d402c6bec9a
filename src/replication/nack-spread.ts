// Spreads the NACKs of many receivers of one multicast loss over time, so that the repair that the first NACK requests
// arrives before most other receivers send theirs: a truncated exponential distribution, as in RFC 5401.

import type { RandomSource } from '../base/random.ts'

const RANDOM_BYTES = 4

/** A random delay from 0 to `withinMs`. Longer delays are likelier, the more so the larger the group is. */
export function spreadDelayMs(withinMs: number, groupSize: number, random: RandomSource): number {
  const lambda = Math.log(Math.max(1, groupSize)) + 1
  const uniform = random(RANDOM_BYTES).readUInt32BE() / 2 ** (8 * RANDOM_BYTES)
  return (withinMs / lambda) * Math.log(1 + uniform * Math.expm1(lambda))
}
