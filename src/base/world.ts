// What a component takes from outside besides its options: the clock, randomness and the log. All three are injected, so
// that a test moves time by command, repeats every draw and reads every line.

import { randomBytes } from 'node:crypto'
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

/** Resolves as the promise does; with undefined when the promise rejects or takes longer than `mostMs`. */
export function within<Value>(
  clock: Clock,
  mostMs: number,
  promise: Promise<Value>,
): Promise<Value | undefined> {
  return new Promise((resolve) => {
    const timer = clock.after(mostMs, () => resolve(undefined))
    const end = (value?: Value) => {
      timer.cancel()
      resolve(value)
    }
    promise.then(end, () => end())
  })
}

/** Returns `size` unpredictable bytes. */
export type RandomSource = (size: number) => Buffer

export const systemRandom: RandomSource = (size) => randomBytes(size)

export type LogFields = Record<string, unknown>

/** A destination for log lines. Fields never hold session bytes, keys or whole session IDs. */
export interface Logger {
  debug(fields: LogFields, message: string): void
  info(fields: LogFields, message: string): void
  warn(fields: LogFields, message: string): void
  error(fields: LogFields, message: string): void
}

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const
/** The least important lines that are written; `silent` writes none. */
export type LogLevel = (typeof LOG_LEVELS)[number]

/** A logger whose level can be changed while it is used. */
export interface LevelledLogger extends Logger {
  level: LogLevel
}

export function isLogLevel(text: string): text is LogLevel {
  return LOG_LEVELS.some((level) => level === text)
}

const nothing = () => {}

export const silentLogger: Logger = { debug: nothing, info: nothing, warn: nothing, error: nothing }

/** The world of one node. Tests make one of a fake clock, a seeded source and a list of lines. */
export interface World {
  readonly clock: Clock
  readonly random: RandomSource
  readonly logger: Logger
}

/** Limits log messages to one line per `periodMs`, and counts those that are held back. */
export class LogLimiter {
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #periodMs: number
  #nextMs = 0
  #heldBack = 0

  constructor({ clock, logger }: Pick<World, 'clock' | 'logger'>, periodMs = 1000) {
    this.#clock = clock
    this.#logger = logger
    this.#periodMs = periodMs
  }

  /** Writes a warning; its `heldBack` says how many lines were held back since the one before. */
  warn(fieldsOf: () => LogFields, message: string): void {
    this.pass((heldBack) => this.#logger.warn({ ...fieldsOf(), heldBack }, message))
  }

  /** Writes an error as `warn` writes a warning. */
  error(fieldsOf: () => LogFields, message: string): void {
    this.pass((heldBack) => this.#logger.error({ ...fieldsOf(), heldBack }, message))
  }

  /** Calls `write` with the number of lines held back so far, or, within the period, counts this line as held back. */
  pass(write: (heldBack: number) => void): void {
    const nowMs = this.#clock.monotonicMs()
    if (nowMs < this.#nextMs) {
      this.#heldBack += 1
      return
    }
    const heldBack = this.#heldBack
    this.#nextMs = nowMs + this.#periodMs
    this.#heldBack = 0
    write(heldBack)
  }
}
