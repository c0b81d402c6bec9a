// A worker of the reference terminator, and the messages between it and its primary: one of several processes, which
// follows the messages of its primary.

import { z } from 'zod'
import { type Address, formatAddress } from '../base/address.ts'
import { messageOf } from '../base/errors.ts'
import { type TerminatorStats, terminatorStatsSchema } from './stats.ts'

/** The terminator that runs in a worker. */
export interface WorkerProcess {
  start(): Promise<readonly Address[]>
  /** Stops accepting and resolves when the last connection has ended, or was cut off after the time to drain. */
  stop(): Promise<void>
  /** Reads the files that these settings name, and logs the result. */
  reload(settings: Settings): void
  readStats(): TerminatorStats
}

/** The settings as they were written, already checked by the primary. */
export type Settings = Readonly<Record<string, unknown>>

/** The message channel to the primary, and the way to end this process. */
export interface WorkerChannel {
  send(message: FromWorker, sent: () => void): void
  onMessage(listener: (message: unknown) => void): void
  exit(code: number): void
}

/** Creates the terminator when the primary sends the settings; drains when the primary says so, and then exits. */
export class Worker {
  readonly #channel: WorkerChannel
  readonly #create: (number: number, settings: Settings) => WorkerProcess
  #process: WorkerProcess | undefined
  #isDraining = false

  constructor(
    channel: WorkerChannel,
    create: (number: number, settings: Settings) => WorkerProcess,
  ) {
    this.#channel = channel
    this.#create = create
    channel.onMessage((received) => {
      const message = toWorkerSchema.parse(received)
      if (message.kind === 'start') void this.#start(message.process, message.settings)
      else if (message.kind === 'drain') void this.drain()
      else if (message.kind === 'reload') this.#process?.reload(message.settings)
      else this.#tellStats(() => {})
    })
    channel.send({ kind: 'ready' }, () => {})
  }

  /**
   * Drains: resolves when the last connection has ended and the process is about to exit. Later calls do nothing.
   */
  async drain(): Promise<void> {
    if (this.#isDraining) return
    this.#isDraining = true
    await this.#process?.stop()
    // The primary would not get what was counted since it last asked.
    this.#tellStats(() => this.#channel.exit(0))
  }

  async #start(number: number, settings: Settings): Promise<void> {
    try {
      this.#process = this.#create(number, settings)
      const addresses = (await this.#process.start()).map(formatAddress)
      this.#channel.send({ kind: 'listening', addresses }, () => {})
    } catch (error) {
      this.#channel.send({ kind: 'failed', message: messageOf(error) }, () => this.#channel.exit(1))
    }
  }

  #tellStats(sent: () => void): void {
    if (this.#process === undefined) sent()
    else this.#channel.send({ kind: 'stats', stats: this.#process.readStats() }, sent)
  }
}

// Messages between the primary of a terminator and its workers, each of which is a process.

const settings = z.record(z.string(), z.unknown())
/** To a worker that is ready: the number of its process, from 1, and the settings that the primary has checked. */
const start = z.object({ kind: z.literal('start'), process: z.number(), settings })
/** To a worker: stop accepting, and exit when the last connection has ended. */
const drain = z.object({ kind: z.literal('drain') })
/** To a worker: read the certificates, keys and revocation lists of these settings. */
const reload = z.object({ kind: z.literal('reload'), settings })
/** To a worker: send your counters. */
const ask = z.object({ kind: z.literal('ask') })
export const toWorkerSchema = z.discriminatedUnion('kind', [start, drain, reload, ask])
export type ToWorker = z.output<typeof toWorkerSchema>

/** From a worker, as its first message: it receives messages from now on, and earlier ones would have been lost. */
const ready = z.object({ kind: z.literal('ready') })
const listening = z.object({ kind: z.literal('listening'), addresses: z.array(z.string()) })
/** From a worker: it cannot start, for this reason, and exits. */
const failed = z.object({ kind: z.literal('failed'), message: z.string() })
const stats = z.object({ kind: z.literal('stats'), stats: terminatorStatsSchema })
export const fromWorkerSchema = z.discriminatedUnion('kind', [ready, listening, failed, stats])
export type FromWorker = z.output<typeof fromWorkerSchema>
