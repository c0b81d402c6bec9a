// Random choices of a simulation. Each part of it draws from a source of its own, so that what one part draws does not
// depend on how often another one did.

import { hash } from 'node:crypto'
import type { RandomSource } from '../../src/base/world.ts'

/** The generator sfc32 (Chris Doty-Humphrey), which passes PractRand; never for keys that protect something. */
export class Chance {
  #a: number
  #b: number
  #c: number
  #counter = 1

  /** The same seed and purpose give the same choices. */
  constructor(seed: number, purpose: string) {
    const digest = hash('sha256', `${seed} ${purpose}`, 'buffer')
    this.#a = digest.readInt32LE(0)
    this.#b = digest.readInt32LE(4)
    this.#c = digest.readInt32LE(8)
  }

  /** An integer 0 <= n < 2^32. */
  next(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0
    this.#counter = (this.#counter + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0
    return sum >>> 0
  }

  /** A number 0 <= n < 1. */
  share(): number {
    return this.next() / 2 ** 32
  }

  /** True with this probability; draws nothing when it is 0. */
  happens(probability: number): boolean {
    return probability > 0 && this.share() < probability
  }

  /** An integer from 0 to below `limit`. */
  below(limit: number): number {
    return Math.floor(this.share() * limit)
  }

  between(low: number, high: number): number {
    return low + this.share() * (high - low)
  }

  /** A number between two positive ones: each order of magnitude is as likely as the other. */
  scale(low: number, high: number): number {
    return low * (high / low) ** this.share()
  }

  /** One of them; there is at least one. */
  pick<Choice>(choices: readonly Choice[]): Choice {
    const choice = choices[this.below(choices.length)]
    if (choice === undefined) throw new RangeError('nothing to choose from')
    return choice
  }

  readonly bytes: RandomSource = (size) => {
    const bytes = Buffer.alloc(size)
    for (let at = 0; at < size; at += 1) bytes[at] = this.next() >>> 11
    return bytes
  }
}
