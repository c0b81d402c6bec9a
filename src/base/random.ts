// Randomness, injected like the clock.

import { randomBytes } from 'node:crypto'

/** Returns `size` unpredictable bytes. */
export type RandomSource = (size: number) => Buffer

export const systemRandom: RandomSource = (size) => randomBytes(size)
