// Which datagrams were retransmitted a moment ago, to one peer or to the group.

import type { Clock } from '../base/clock.ts'

/**
 * Retransmissions remembered. When this many are remembered and the oldest of them is recent, every datagram counts as
 * recent.
 */
const MAX_RESENDS = 4096

export class RecentResends {
  readonly #clock: Clock
  /** Time of the last retransmission by sequence number, oldest first. */
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

  /** Notes a retransmission now; forgets the oldest when MAX_RESENDS are exceeded. */
  note(sequence: number): void {
    this.#sentMs.delete(sequence)
    this.#sentMs.set(sequence, this.#clock.monotonicMs())
    if (this.#sentMs.size <= MAX_RESENDS) return
    const [oldest] = this.#sentMs.keys()
    if (oldest !== undefined) this.#sentMs.delete(oldest)
  }
}
