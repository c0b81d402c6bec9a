// A token bucket in bytes: how much may be sent now, refilled with time.

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

  /** Whether there is room for so many bytes now. */
  has(bytes: number): boolean {
    const nowMs = this.#clock.monotonicMs()
    const refill = ((nowMs - this.#refilledMs) * this.#bytesPerSec) / 1000
    this.#bytes = Math.min(this.#burstBytes, this.#bytes + refill)
    this.#refilledMs = nowMs
    return bytes <= this.#bytes
  }

  /** Takes so many bytes from the budget, if there is room for them. */
  take(bytes: number): boolean {
    if (!this.has(bytes)) return false
    this.#bytes -= bytes
    return true
  }
}
