// Randomness that is the same in every run: for tests, never for keys.

import { createHash } from 'node:crypto'
import type { RandomSource } from '../../src/base/random.ts'

/** Bytes of SHA-256 over seed and counter. */
export function seededBytes(seed: string): RandomSource {
  let counter = 0
  return (size) => {
    const blocks: Buffer[] = []
    for (let length = 0; length < size; length += 32) {
      blocks.push(createHash('sha256').update(`${seed} ${counter}`).digest())
      counter += 1
    }
    return Buffer.concat(blocks).subarray(0, size)
  }
}

/** Numbers 0 <= n < 1. */
export function seededNumbers(seed: string): () => number {
  const bytes = seededBytes(seed)
  return () => bytes(6).readUIntBE(0, 6) / 2 ** 48
}
