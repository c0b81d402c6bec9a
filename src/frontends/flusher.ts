// Carries out flush_all: removes every session of the cache, on all nodes. It works in slices, so that a large cache
// still answers meanwhile; the caller is answered at the end.

import type { Clock, Timer } from '../base/world.ts'
import type { ContextlessHooks } from '../hooks/contextless-hooks.ts'

/** Longest time of one slice. */
const SLICE_MS = 5
/** Removals between two readings of the clock, since a reading takes as long as a removal. */
const REMOVALS_PER_LOOK = 64

export class Flusher {
  readonly #hooks: ContextlessHooks
  readonly #clock: Clock
  #left = 0
  #waiting: (() => void)[] = []
  #slice: Timer | undefined
  #delayed: Timer | undefined

  constructor(hooks: ContextlessHooks, clock: Clock) {
    this.#hooks = hooks
    this.#clock = clock
  }

  /**
   * Removes as many sessions as are stored now, the least recently used first. Returns true when that is done;
   * otherwise `onDone` is called when it is.
   */
  flush(onDone: () => void): boolean {
    this.#left = this.#hooks.storeStats.items
    this.#removeSlice()
    if (this.#left === 0) return true
    this.#waiting.push(onDone)
    return false
  }

  /** Flushes after `delayMs`, instead of a flush that was delayed before and has not begun. */
  flushAfter(delayMs: number): void {
    this.#delayed?.cancel()
    this.#delayed = this.#clock.after(delayMs, () => {
      this.#delayed = undefined
      this.flush(() => {})
    })
  }

  stop(): void {
    this.#delayed?.cancel()
    this.#slice?.cancel()
    this.#delayed = undefined
    this.#slice = undefined
    this.#waiting = []
  }

  #removeSlice(): void {
    this.#slice?.cancel()
    this.#slice = undefined
    const untilMs = this.#clock.monotonicMs() + SLICE_MS
    do {
      for (let count = 0; count < REMOVALS_PER_LOOK && this.#left > 0; count += 1) {
        this.#left = this.#hooks.removeOldest() ? this.#left - 1 : 0
      }
    } while (this.#left > 0 && this.#clock.monotonicMs() < untilMs)
    if (this.#left > 0) {
      this.#slice = this.#clock.soon(() => this.#removeSlice())
      return
    }
    const waiting = this.#waiting
    this.#waiting = []
    for (const onDone of waiting) onDone()
  }
}
