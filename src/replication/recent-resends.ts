// Which datagrams were sent again a moment ago, to one peer or to the group.

import type { Clock } from '../base/clock.ts'

/** With so many on their way everything counts as recent, until the oldest no longer is. */
const MAX_RESENDS = 4096

export class RecentResends {
  readonly #clock: Clock
  /** When, by sequence; oldest first. */
  readonly #sentMs = new Map<number, number>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  isRecent(sequence: number, intervalMs: number): boolean {
    const sinceMs = this.#clock.monotonicMs() - intervalMs
    const sentMs = this.#sentMs.get(sequence)
    if (sentMs !== undefined) return sentMs > sinceMs
    if (this.#sentMs.size < MAX_RESENDS) return false
    const [oldestMs = 0] = this.#sentMs.values()
    return oldestMs > sinceMs
  }

  /** Notes that it is sent again now; the oldest makes room. */
  note(sequence: number): void {
    this.#sentMs.delete(sequence)
    this.#sentMs.set(sequence, this.#clock.monotonicMs())
    if (this.#sentMs.size <= MAX_RESENDS) return
    const [oldest] = this.#sentMs.keys()
    if (oldest !== undefined) this.#sentMs.delete(oldest)
  }
}
