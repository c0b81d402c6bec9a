// Randomness that is the same in every run: for tests, never for keys.

import { hash } from 'node:crypto'
import type { RandomSource } from '../../src/base/world.ts'

/**
 * Bytes of SHA-256 over seed and counter. Hashed at once: what createHash makes is freed by the garbage collector, and
 * thousands of them make pauses that a test would blame the node for.
 */
export function seededBytes(seed: string): RandomSource {
  let counter = 0
  return (size) => {
    const blocks: Buffer[] = []
    for (let length = 0; length < size; length += 32) {
      blocks.push(hash('sha256', `${seed} ${counter}`, 'buffer'))
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
