// Logging: pino behind a small interface, and a limiter for lines that an outsider can provoke.

import { type DestinationStream, pino } from 'pino'
import { build as buildPretty } from 'pino-pretty'
import type { Clock } from './clock.ts'

export type LogFields = Record<string, unknown>

/** Fields never hold session bytes, keys or whole session IDs. */
export interface Logger {
  debug(fields: LogFields, message: string): void
  info(fields: LogFields, message: string): void
  warn(fields: LogFields, message: string): void
  error(fields: LogFields, message: string): void
}

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const
export const LOG_FORMATS = ['json', 'text'] as const

export interface LoggerOptions {
  readonly level: (typeof LOG_LEVELS)[number]
  readonly format: (typeof LOG_FORMATS)[number]
  /** Name of the node, in every line. */
  readonly node: string
}

/** Logs to standard error, one JSON object or one readable line per event, written at once. */
export function createLogger(options: LoggerOptions): Logger {
  const destination: DestinationStream =
    options.format === 'text'
      ? buildPretty({
          destination: 2,
          sync: true,
          ignore: 'pid,node',
          translateTime: 'SYS:isoDateTime',
        })
      : pino.destination({ dest: 2, sync: true })
  return pino(
    {
      level: options.level,
      base: { node: options.node },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination,
  )
}

const nothing = () => {}

export const silentLogger: Logger = { debug: nothing, info: nothing, warn: nothing, error: nothing }

/** Lets one line through per `periodMs` and tells it how many were held back since the last. */
export class LogLimiter {
  readonly #clock: Clock
  readonly #periodMs: number
  #nextMs = 0
  #heldBack = 0

  constructor(clock: Clock, periodMs = 1000) {
    this.#clock = clock
    this.#periodMs = periodMs
  }

  /** Calls `write` with the number of lines held back, or counts this one as held back. */
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
