// A clock for a process that is busy: what is to run after the I/O that waits is held back, until the test
// says that this was handled.

import type { Timer } from '../../src/base/world.ts'
import { FakeClock } from './fake-clock.ts'

export class BusyClock extends FakeClock {
  readonly #held = new Set<() => void>()

  override soon(callback: () => void): Timer {
    this.#held.add(callback)
    return { cancel: () => this.#held.delete(callback) }
  }

  /** Callbacks held back and not cancelled. */
  get heldCount(): number {
    return this.#held.size
  }

  handled(): void {
    for (const callback of this.#held) {
      this.#held.delete(callback)
      callback()
    }
  }
}
