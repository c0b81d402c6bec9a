// What all commands that run until they are stopped share: a log and an output that never block, the handling of
// warnings and of errors that nothing caught, and the watchdog.

import { codeOf, messageOf } from '../base/errors.ts'
import { hideKeys } from '../base/hidden-keys.ts'
import { createLogger, type LoggerOptions } from '../base/logger.ts'
import { OutputThread, STANDARD_ERROR, STANDARD_OUTPUT } from '../base/output-thread.ts'
import { type Kills, type LongWork, readKills, startWatchdog } from '../base/watchdog.ts'
import type { LevelledLogger } from '../base/world.ts'
import { exitCodeOf, FAILED } from './exit-codes.ts'
import { ServiceManager } from './service-manager.ts'
import { setSink } from './standard-streams.ts'

export interface ServiceOptions {
  readonly log: LoggerOptions
  /** Longest time without a turn of the event loop, once the service runs; 0 is off. */
  readonly watchdogMs: number
  /** Whether addresses are printed as JSON. */
  readonly isJson: boolean
  /** Whether kills by the watchdog are counted beyond the end of the process; for one service of a systemd unit. */
  readonly countsKills?: boolean
}

/** The running service, one per process. From here on nothing else may use the standard streams of the process. */
export class Service {
  readonly logger: LevelledLogger
  readonly manager = new ServiceManager({ environment: process.env, pid: process.pid })
  readonly #kills: Kills | undefined
  readonly #options: ServiceOptions
  readonly #output = new OutputThread()
  /** Runs long work under the watchdog; before the watchdog is started, it only calls `work`. */
  #longWork: LongWork = (work) => work()

  constructor(options: ServiceOptions) {
    this.#options = options
    this.#kills = options.countsKills ? readKills(process.env) : undefined
    this.logger = createLogger(options.log, this.#output)
    // Our own code does not write to these streams; what a library prints becomes a line of the log.
    for (const name of ['stdout', 'stderr'] as const) {
      setSink(name, (text) => this.logger.warn({ stream: name }, text.trimEnd()))
    }
    // Node.js itself prints warnings to standard error, and blocks until they are written.
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

  readonly droppedLogLines = (): number => this.#output.droppedLines

  /** How often the watchdog killed this service since the machine started; undefined where nothing could keep it. */
  get watchdogKills(): number | undefined {
    return this.#kills?.count
  }

  /**
   * Runs `start`, which resolves with a function that returns the status of the service in a few words. When it
   * rejects, the error is logged and the process exits; otherwise the event loop is watched from now on.
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
      kills: this.#kills,
    })
  }

  /** Runs work that may block the event loop for seconds: the watchdog allows it a minute. */
  longWork<T>(work: () => T): T {
    return this.#longWork(work)
  }

  /** Prints the address at which something listens, as text or as a JSON object. */
  sayListening(name: string, address: string): void {
    const line = this.#options.isJson
      ? JSON.stringify({ name, address })
      : `${name} listens on ${address}`
    this.#output.write(STANDARD_OUTPUT, `${line}\n`)
  }

  /** Reports why the process ends, also when the log is silent. */
  #fail(fields: Record<string, unknown>, message: string): void {
    if (this.#options.log.level === 'silent') this.#output.write(STANDARD_ERROR, `${message}\n`)
    else this.logger.error(fields, message)
  }
}
