// What the commands that run until they are stopped share: their log and output, which wait for nobody, what becomes of
// warnings and errors that nothing caught, and the watchdog.

import { InvalidArgumentError, Option } from 'commander'
import { formatDurationMs, parseDurationMs } from '../base/duration.ts'
import { codeOf, messageOf } from '../base/errors.ts'
import { hideKeys } from '../base/hidden-keys.ts'
import { createLogger, type Logger, type LoggerOptions } from '../base/logger.ts'
import { OutputThread, STANDARD_ERROR, STANDARD_OUTPUT } from '../base/output-thread.ts'
import {
  DEFAULT_WATCHDOG_MS,
  type LongWork,
  MAX_WATCHDOG_MS,
  MIN_WATCHDOG_MS,
  startWatchdog,
} from '../base/watchdog.ts'
import { exitCodeOf, FAILED } from './exit-codes.ts'
import { ServiceManager } from './service-manager.ts'
import { setSink } from './standard-streams.ts'

export interface ServiceOptions {
  readonly log: LoggerOptions
  /** Longest time without a turn of the event loop, once the service runs; 0 is off. */
  readonly watchdogMs: number
  /** Whether what is printed is JSON. */
  readonly isJson: boolean
}

/** One per process. From here on nothing else may use the standard streams of the process. */
export class Service {
  readonly logger: Logger
  readonly manager = new ServiceManager({ environment: process.env, pid: process.pid })
  readonly #options: ServiceOptions
  readonly #output = new OutputThread()
  /** Nothing is watched before the service runs. */
  #longWork: LongWork = (work) => work()

  constructor(options: ServiceOptions) {
    this.#options = options
    this.logger = createLogger(options.log, this.#output)
    // Nothing of ours writes there; what a library prints becomes a line of the log.
    for (const name of ['stdout', 'stderr'] as const) {
      setSink(name, (text) => this.logger.warn({ stream: name }, text.trimEnd()))
    }
    // Node.js prints warnings to standard error itself, and waits for its reader.
    process.removeAllListeners('warning')
    process.on('warning', ({ name, message, stack }) => {
      this.logger.warn({ warning: name, stack }, message)
    })
    process.on('uncaughtException', (error) => {
      const stack = error instanceof Error ? error.stack : undefined
      this.#fail({ stack }, `this is a bug: ${messageOf(error)}`)
      process.exit(FAILED)
    })
  }

  /** A logger whose lines name this part of the program. */
  loggerNamed(node: string): Logger {
    return createLogger({ ...this.#options.log, node }, this.#output)
  }

  readonly droppedLogLines = (): number => this.#output.droppedLines

  /**
   * Runs `start`, which resolves with a function that says in a few words how the service is. Ends the process with its
   * error, logged; otherwise watches the event loop from now on.
   */
  async run(start: () => Promise<() => string>): Promise<void> {
    try {
      this.manager.ready(await start())
    } catch (error) {
      this.#fail({ code: codeOf(error) }, hideKeys(messageOf(error)))
      process.exit(exitCodeOf(error))
    }
    const { log, watchdogMs: timeoutMs } = this.#options
    this.#longWork = startWatchdog({
      timeoutMs,
      output: this.#output,
      log,
      logger: this.logger,
    })
  }

  /** Does work that may take seconds on the event loop: the watchdog gives it a minute. */
  longWork<T>(work: () => T): T {
    return this.#longWork(work)
  }

  /** Prints where something listens, for people or as a JSON object. */
  sayListening(name: string, address: string): void {
    const line = this.#options.isJson
      ? JSON.stringify({ name, address })
      : `${name} listens on ${address}`
    this.#output.write(STANDARD_OUTPUT, `${line}\n`)
  }

  /** Says why the process ends, also where nothing else is logged. */
  #fail(fields: Record<string, unknown>, message: string): void {
    if (this.#options.log.level === 'silent') this.#output.write(STANDARD_ERROR, `${message}\n`)
    else this.logger.error(fields, message)
  }
}

/** The watchdog of a command that has no file of settings. */
export function watchdogOption(): Option {
  const description = 'kill a process whose event loop hangs for so long; 0 is off'
  return new Option('--watchdog <duration>', description)
    .default(DEFAULT_WATCHDOG_MS, formatDurationMs(DEFAULT_WATCHDOG_MS))
    .argParser((value) => {
      const timeoutMs = value === '0' ? 0 : (parseDurationMs(value) ?? Number.NaN)
      if (timeoutMs === 0) return 0
      if (timeoutMs >= MIN_WATCHDOG_MS && timeoutMs <= MAX_WATCHDOG_MS) return timeoutMs
      const bounds = `${formatDurationMs(MIN_WATCHDOG_MS)}..${formatDurationMs(MAX_WATCHDOG_MS)}`
      throw new InvalidArgumentError(`must be 0 or a duration, ${bounds}, as in 2s`)
    })
}
