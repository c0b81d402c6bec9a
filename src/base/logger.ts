// Logging: pino behind a small interface, and a limiter for lines that an outsider can provoke.

import { type DestinationStream, pino } from 'pino'
import { prettyFactory } from 'pino-pretty'
import type { Clock } from './clock.ts'
import { type OutputThread, STANDARD_ERROR } from './output-thread.ts'

export type LogFields = Record<string, unknown>

/** A destination for log lines. Fields never hold session bytes, keys or whole session IDs. */
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
  /** Name of the node. It is a field of every line in the format `json`; the format `text` leaves it out. */
  readonly node: string
}

/** Creates a logger that writes to standard error through `output`, one line per event: a JSON object or plain text. */
export function createLogger(options: LoggerOptions, output: Pick<OutputThread, 'write'>): Logger {
  const toText = prettyFactory({
    ignore: 'pid,node',
    translateTime: 'SYS:isoDateTime',
    singleLine: true,
    colorize: false,
  })
  // An error message from a library may have several lines.
  const toLine = (line: string) => `${toText(line).trimEnd().replaceAll('\n', '\\n')}\n`
  const format = options.format === 'text' ? toLine : (line: string) => line
  const destination: DestinationStream = {
    write: (line) => output.write(STANDARD_ERROR, format(line)),
  }
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

/** Limits a log message to one line per `periodMs`, which gets the number of lines held back since the one before. */
export class LogLimiter {
  readonly #clock: Clock
  readonly #periodMs: number
  #nextMs = 0
  #heldBack = 0

  constructor(clock: Clock, periodMs = 1000) {
    this.#clock = clock
    this.#periodMs = periodMs
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
