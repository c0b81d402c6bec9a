// The random challenges in flight: a node that returns one was alive after it was sent.

import type { HostAddress } from '../base/address.ts'
import type { Clock } from '../base/clock.ts'
import type { RandomSource } from '../base/random.ts'
import { CHALLENGE_BYTES } from '../wire/message.ts'

/** An answer that comes later than this is ignored. */
const CHALLENGE_LIFETIME_MS = 5000
/**
 * Challenges remembered; the oldest is forgotten. A node greets an address once a second at most, so this is enough for
 * hundreds of them.
 */
const MAX_CHALLENGES = 4096

export interface Challenge<Target> {
  readonly sentMs: number
  /** Object that the caller sent the challenge to. */
  readonly target: Target
  /** Address that the challenge was sent to. */
  readonly to: HostAddress
}

export class Challenges<Target> {
  readonly #clock: Clock
  readonly #random: RandomSource
  /** Challenges in flight by their bytes in latin1, oldest first. */
  readonly #pending = new Map<string, Challenge<Target>>()

  constructor(clock: Clock, random: RandomSource) {
    this.#clock = clock
    this.#random = random
  }

  get count(): number {
    return this.#pending.size
  }

  issue(target: Target, to: HostAddress): Buffer {
    this.#expire()
    const bytes = this.#random(CHALLENGE_BYTES)
    this.#pending.set(bytes.toString('latin1'), { sentMs: this.#clock.monotonicMs(), target, to })
    return bytes
  }

  /**
   * The challenge that this answers; undefined when it is unknown or too old. It stays, because each member of a group
   * may answer it.
   */
  find(answer: Buffer): Challenge<Target> | undefined {
    this.#expire()
    return this.#pending.get(answer.toString('latin1'))
  }

  #expire(): void {
    const oldestMs = this.#clock.monotonicMs() - CHALLENGE_LIFETIME_MS
    for (const [bytes, challenge] of this.#pending) {
      if (challenge.sentMs >= oldestMs && this.#pending.size < MAX_CHALLENGES) return
      this.#pending.delete(bytes)
    }
  }
}
