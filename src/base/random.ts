// Randomness, injected like the clock.

import { randomBytes } from 'node:crypto'

/** Gives `size` unpredictable bytes. */
export type RandomSource = (size: number) => Buffer

export const systemRandom: RandomSource = (size) => randomBytes(size)
