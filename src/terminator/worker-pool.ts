// The workers of a terminator from the view of its primary: one worker in each place. Restarts a worker that ended,
// collects the counters, and makes the workers reload their files or drain.

import { TlscachedError } from '../base/errors.ts'
import { type Clock, type Logger, systemClock, type Timer } from '../base/world.ts'
import { addStats, createTerminatorStats, type TerminatorStats, withoutState } from './stats.ts'
import { type FromWorker, fromWorkerSchema, type Settings, type ToWorker } from './worker.ts'

/** A child process with a message channel, such as node:cluster makes. */
export interface WorkerHandle {
  send(message: ToWorker): void
  kill(): void
  onMessage(listener: (message: unknown) => void): void
  /** Calls `listener` when the process has ended; `how` describes the end for the log. */
  onExit(listener: (how: string) => void): void
}

export interface WorkerPoolOptions {
  readonly processes: number
  readonly fork: () => WorkerHandle
  /** The settings of the workers until a reload. */
  readonly settings: Settings
  /** Time that open connections have to end while a worker drains. */
  readonly drainMs: number
  readonly clock?: Clock
  readonly logger: Logger
}

export interface PoolStats {
  /** Workers running now, including those that drain. */
  readonly workers: number
  readonly restarts: number
  /** Counters of each process; process 1 comes first. */
  readonly processes: readonly TerminatorStats[]
}

const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 10_000
/** A worker that ran at least this long is restarted after the shortest pause: its start was not the problem. */
const STEADY_MS = 30_000
/** Longest wait for the counters of a worker. */
const ASK_TIMEOUT_MS = 500
/** Time beyond `drainMs` that a worker has to exit by itself before it is killed. */
const END_TIMEOUT_MS = 2000

interface Place {
  /** Number of the process, from 1. */
  readonly process: number
  pauseMs: number
  restart: Timer | undefined
  /** Sum of the counters of earlier workers in this place. */
  past: TerminatorStats
}

interface Running {
  readonly place: Place
  readonly handle: WorkerHandle
  readonly startedMs: number
  /** Counters that the worker sent last. */
  stats: TerminatorStats
}

type Heard = FromWorker | { readonly kind: 'exit' }

export class WorkerPool {
  readonly #options: WorkerPoolOptions
  readonly #clock: Clock
  readonly #places: readonly Place[]
  readonly #running = new Set<Running>()
  /** Callbacks for each message and each exit of a worker. */
  readonly #listeners = new Set<(running: Running, heard: Heard) => void>()
  #settings: Settings
  #restarts = 0
  #isStopping = false

  constructor(options: WorkerPoolOptions) {
    this.#options = options
    this.#settings = options.settings
    this.#clock = options.clock ?? systemClock
    this.#places = Array.from({ length: options.processes }, (_, index) => ({
      process: index + 1,
      pauseMs: FIRST_PAUSE_MS,
      restart: undefined,
      past: createTerminatorStats(),
    }))
  }

  /**
   * Starts all workers and resolves with the addresses where they listen. When one cannot start, ends the others
   * and rejects.
   */
  async start(): Promise<readonly string[]> {
    try {
      const started = this.#places.map((place) => this.#untilListening(this.#fork(place)))
      const [addresses = []] = await Promise.all(started)
      return addresses
    } catch (error) {
      this.#startNoMore()
      this.kill()
      await this.#untilAllEnded()
      throw error
    }
  }

  /** Asks all workers for their counters; for one that does not answer in time, those it sent last count. */
  async stats(): Promise<PoolStats> {
    await Promise.all([...this.#running].map((running) => this.#ask(running)))
    return {
      workers: this.#running.size,
      restarts: this.#restarts,
      processes: this.#places.map((place) =>
        this.#of(place).reduce((sum, { stats }) => addStats(sum, stats), place.past),
      ),
    }
  }

  /** Makes all workers read the files that these settings name. A worker that starts later gets the settings, too. */
  reload(settings: Settings): void {
    this.#settings = settings
    for (const { handle } of this.#running) handle.send({ kind: 'reload', settings })
  }

  /** Makes all workers drain and kills those that take too long. Resolves with whether all exited by themselves. */
  async stop(): Promise<boolean> {
    this.#startNoMore()
    for (const { handle } of this.#running) handle.send({ kind: 'drain' })
    let isTooLate = false
    const timer = this.#clock.after(this.#options.drainMs + END_TIMEOUT_MS, () => {
      isTooLate = true
      this.kill()
    })
    await this.#untilAllEnded()
    timer.cancel()
    return !isTooLate
  }

  /** Ends all workers at once. */
  kill(): void {
    for (const { handle } of this.#running) handle.kill()
  }

  #startNoMore(): void {
    this.#isStopping = true
    for (const { restart } of this.#places) restart?.cancel()
  }

  #of(place: Place): Running[] {
    return [...this.#running].filter((running) => running.place === place)
  }

  #fork(place: Place): Running {
    const running: Running = {
      place,
      handle: this.#options.fork(),
      startedMs: this.#clock.monotonicMs(),
      stats: createTerminatorStats(),
    }
    this.#running.add(running)
    running.handle.onMessage((received) => {
      const message = fromWorkerSchema.parse(received)
      if (message.kind === 'stats') running.stats = message.stats
      if (message.kind === 'ready') {
        const { process } = place
        const start: ToWorker = { kind: 'start', process, settings: this.#settings }
        running.handle.send(this.#isStopping ? { kind: 'drain' } : start)
      }
      this.#tell(running, message)
    })
    running.handle.onExit((how) => {
      this.#running.delete(running)
      place.past = addStats(place.past, withoutState(running.stats))
      this.#tell(running, { kind: 'exit' })
      if (!this.#isStopping) this.#restartLater(running, how)
    })
    return running
  }

  #restartLater({ place, startedMs }: Running, how: string): void {
    const isSteady = this.#clock.monotonicMs() - startedMs >= STEADY_MS
    const pauseMs = isSteady ? FIRST_PAUSE_MS : place.pauseMs
    place.pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)
    const fields = { process: place.process, how, pauseMs }
    this.#options.logger.error(fields, 'a process ended, another one takes its place')
    place.restart = this.#clock.after(pauseMs, () => {
      this.#restarts += 1
      this.#fork(place)
    })
  }

  #untilListening(running: Running): Promise<readonly string[]> {
    return new Promise((resolve, reject) => {
      const stop = this.#listen((who, heard) => {
        if (who !== running || heard.kind === 'ready' || heard.kind === 'stats') return
        stop()
        if (heard.kind === 'listening') resolve(heard.addresses)
        else if (heard.kind === 'failed') reject(new TlscachedError('ERR_LISTEN', heard.message))
        else reject(new Error(`process ${running.place.process} ended while it started`))
      })
    })
  }

  #ask(running: Running): Promise<void> {
    return new Promise((resolve) => {
      const settle = () => {
        timer.cancel()
        stop()
        resolve()
      }
      const timer = this.#clock.after(ASK_TIMEOUT_MS, settle)
      const stop = this.#listen((who, { kind }) => {
        if (who === running && (kind === 'stats' || kind === 'exit')) settle()
      })
      running.handle.send({ kind: 'ask' })
    })
  }

  #untilAllEnded(): Promise<void> {
    if (this.#running.size === 0) return Promise.resolve()
    return new Promise((resolve) => {
      const stop = this.#listen(() => {
        if (this.#running.size > 0) return
        stop()
        resolve()
      })
    })
  }

  #listen(listener: (running: Running, heard: Heard) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  #tell(running: Running, heard: Heard): void {
    for (const listener of [...this.#listeners]) listener(running, heard)
  }
}
