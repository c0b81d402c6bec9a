// A token bucket: how much may be spent now, refilled with time. Its unit is bytes, or datagrams in `StrangerBudget`.

import type { Clock } from '../base/clock.ts'

export class ByteBudget {
  readonly #clock: Clock
  readonly #bytesPerSec: number
  readonly #burstBytes: number
  #bytes: number
  #refilledMs: number

  constructor(clock: Clock, bytesPerSec: number, burstBytes: number) {
    this.#clock = clock
    this.#bytesPerSec = bytesPerSec
    this.#burstBytes = burstBytes
    this.#bytes = burstBytes
    this.#refilledMs = clock.monotonicMs()
  }

  /** Whether the budget holds `bytes` now; takes nothing. */
  has(bytes: number): boolean {
    const nowMs = this.#clock.monotonicMs()
    const refill = ((nowMs - this.#refilledMs) * this.#bytesPerSec) / 1000
    this.#bytes = Math.min(this.#burstBytes, this.#bytes + refill)
    this.#refilledMs = nowMs
    return bytes <= this.#bytes
  }

  /** Takes `bytes` from the budget; false, and nothing is taken, when it holds fewer. */
  take(bytes: number): boolean {
    if (!this.has(bytes)) return false
    this.#bytes -= bytes
    return true
  }
}
