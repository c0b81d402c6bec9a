// The clock that all code uses. It is injected, so that a test moves time by command and never sleeps.

import { performance } from 'node:perf_hooks'

/** A pending callback; `cancel` is idempotent and may be called after it ran. */
export interface Timer {
  cancel(): void
}

export interface Clock {
  /** Fractional milliseconds that never go backwards. Lifetimes and waits are measured with them. */
  monotonicMs(): number
  /** Milliseconds since 1970 by the clock of the machine. Only for versions, encoded sessions and display. */
  wallMs(): number
  /** Runs `callback` once after `delayMs`, however long; with 0 or less it runs in a later turn of the event loop. */
  after(delayMs: number, callback: () => void): Timer
  /** Runs `callback` once, after the I/O that is already waiting has been handled. */
  soon(callback: () => void): Timer
}

/** Longest delay of setTimeout, 24.8 days. Node.js turns a longer one into 1 ms and warns on standard error. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1

export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  after(delayMs, callback) {
    if (delayMs > LONGEST_TIMEOUT_MS) return afterLong(delayMs, callback)
    // Since Node.js 22 a negative delay puts a warning on standard error.
    const handle = setTimeout(callback, Math.max(0, delayMs))
    return { cancel: () => clearTimeout(handle) }
  },
  soon(callback) {
    const handle = setImmediate(callback)
    return { cancel: () => clearImmediate(handle) }
  },
}

/** Runs `callback` after a delay above LONGEST_TIMEOUT_MS, by several timeouts one after the other. */
function afterLong(delayMs: number, callback: () => void): Timer {
  let timer = systemClock.after(LONGEST_TIMEOUT_MS, () => {
    timer = systemClock.after(delayMs - LONGEST_TIMEOUT_MS, callback)
  })
  return { cancel: () => timer.cancel() }
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
