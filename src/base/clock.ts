// Time, as everything here sees it: injected, so that a test moves it by command and never sleeps.

import { performance } from 'node:perf_hooks'

/** A pending callback; `cancel` is idempotent and may be called after it ran. */
export interface Timer {
  cancel(): void
}

export interface Clock {
  /** Milliseconds, fractional, never going backwards. Lifetimes and waits are measured with it. */
  monotonicMs(): number
  /** Milliseconds since 1970 as the machine believes. Only for versions, encoded sessions and display. */
  wallMs(): number
  /** Runs `callback` once, `delayMs` from now. */
  after(delayMs: number, callback: () => void): Timer
  /** Runs `callback` once, when the I/O that is already waiting has been handled. */
  soon(callback: () => void): Timer
}

export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  after(delayMs, callback) {
    const handle = setTimeout(callback, delayMs)
    return { cancel: () => clearTimeout(handle) }
  },
  soon(callback) {
    const handle = setImmediate(callback)
    return { cancel: () => clearImmediate(handle) }
  },
}

/**
 * Runs `callback` every `periodMs` until cancelled. The next run is armed even when this one
 * throws, and only after it ended, so that a slow run never piles up.
 */
export function every(clock: Clock, periodMs: number, callback: () => void): Timer {
  let isCancelled = false
  let timer: Timer
  const run = () => {
    try {
      callback()
    } finally {
      if (!isCancelled) timer = clock.after(periodMs, run)
    }
  }
  timer = clock.after(periodMs, run)
  return {
    cancel() {
      isCancelled = true
      timer.cancel()
    },
  }
}
