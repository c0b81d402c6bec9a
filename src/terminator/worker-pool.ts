// The workers of a terminator as its primary sees them: one in each place. Puts another one where one ended,
// gathers what they counted, and has them read their files again, or drain.

import { type Clock, systemClock, type Timer } from '../base/clock.ts'
import { TlscachedError } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import { addStats, createTerminatorStats, type TerminatorStats, withoutState } from './stats.ts'
import { type FromWorker, fromWorkerSchema, type ToWorker } from './worker-messages.ts'

/** A child process with a channel, as node:cluster makes them. */
export interface WorkerHandle {
  send(message: ToWorker): void
  kill(): void
  onMessage(listener: (message: unknown) => void): void
  /** `how` it ended, for people. */
  onExit(listener: (how: string) => void): void
}

export interface WorkerPoolOptions {
  readonly processes: number
  readonly fork: () => WorkerHandle
  /** What connections are given to end, once asked to. */
  readonly drainMs: number
  readonly clock?: Clock
  readonly logger: Logger
}

export interface PoolStats {
  /** Running now, those that drain included. */
  readonly workers: number
  readonly restarts: number
  /** By process, from 1. */
  readonly processes: readonly TerminatorStats[]
}

const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 10_000
/** A worker that ran this long did not end because of how it was started. */
const STEADY_MS = 30_000
/** For a worker to say what it counted. */
const ASK_TIMEOUT_MS = 500
/** Beyond the time for draining, for a worker to end by itself. */
const END_TIMEOUT_MS = 2000

interface Place {
  /** From 1. */
  readonly process: number
  pauseMs: number
  restart: Timer | undefined
  /** What workers counted that have ended. */
  past: TerminatorStats
}

interface Running {
  readonly place: Place
  readonly handle: WorkerHandle
  readonly startedMs: number
  /** As last heard. */
  stats: TerminatorStats
}

type Heard = FromWorker | { readonly kind: 'exit' }

export class WorkerPool {
  readonly #options: WorkerPoolOptions
  readonly #clock: Clock
  readonly #places: readonly Place[]
  readonly #running = new Set<Running>()
  /** Who waits for something that a worker will say or do. */
  readonly #listeners = new Set<(running: Running, heard: Heard) => void>()
  #restarts = 0
  #isStopping = false

  constructor(options: WorkerPoolOptions) {
    this.#options = options
    this.#clock = options.clock ?? systemClock
    this.#places = Array.from({ length: options.processes }, (_, index) => ({
      process: index + 1,
      pauseMs: FIRST_PAUSE_MS,
      restart: undefined,
      past: createTerminatorStats(),
    }))
  }

  /** Where all of them listen. Rejects when one cannot, and ends the others. */
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

  /** Asks all workers; one that does not answer in time counts as it was last heard. */
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

  /** Has all workers read their files again. One that starts now reads them anyway. */
  reload(): void {
    for (const { handle } of this.#running) handle.send({ kind: 'reload' })
  }

  /** Has all workers drain, and ends those that take too long. Whether all ended by themselves. */
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
        const start: ToWorker = { kind: 'start', process: place.process }
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
