// The clock of the machine, which a test can make run faster: for timeouts of real nodes on real sockets.

import { type Clock, systemClock, type Timer } from '../../src/base/world.ts'

export class SpeedClock implements Clock {
  #speed = 1
  #baseMs = 0
  #sinceMs = performance.now()

  monotonicMs(): number {
    return this.#baseMs + (performance.now() - this.#sinceMs) * this.#speed
  }

  wallMs(): number {
    return systemClock.wallMs()
  }

  after(delayMs: number, callback: () => void): Timer {
    return systemClock.after(delayMs / this.#speed, callback)
  }

  soon(callback: () => void): Timer {
    return systemClock.soon(callback)
  }

  /** Runs `speed` times as fast as the machine's clock from now on; timers that are set already come when they would have. */
  run(speed: number): void {
    this.#baseMs = this.monotonicMs()
    this.#sinceMs = performance.now()
    this.#speed = speed
  }
}
