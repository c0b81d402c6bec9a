// The random challenges now in the air: whoever gives one back was alive after it was sent.

import type { HostAddress } from '../base/address.ts'
import type { Clock } from '../base/clock.ts'
import type { RandomSource } from '../base/random.ts'
import { CHALLENGE_BYTES } from '../wire/message.ts'

/** An answer later than this counts for nothing. */
const CHALLENGE_LIFETIME_MS = 5000
/** A node greets every address about once a second: enough for hundreds of them. */
const MAX_CHALLENGES = 4096

export interface Challenge<Target> {
  readonly sentMs: number
  /** What it was sent to. */
  readonly target: Target
  /** Where it was sent to. */
  readonly to: HostAddress
}

export class Challenges<Target> {
  readonly #clock: Clock
  readonly #random: RandomSource
  /** By their bytes, oldest first. */
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

  /** The challenge that this answers, if it is not too old. A group may answer one many times. */
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
