// A worker of the reference terminator: one of several processes, which follows the messages of its primary.

import { type Address, formatAddress } from '../base/address.ts'
import { messageOf } from '../base/errors.ts'
import type { TerminatorStats } from './stats.ts'
import { type FromWorker, toWorkerSchema } from './worker-messages.ts'

/** The terminator that runs in a worker. */
export interface WorkerProcess {
  start(): Promise<readonly Address[]>
  stop(drainMs: number): Promise<void>
  /** Reloads the files and logs the result. */
  reload(): void
  readStats(): TerminatorStats
}

/** The message channel to the primary, and the way to end this process. */
export interface WorkerChannel {
  send(message: FromWorker, sent: () => void): void
  onMessage(listener: (message: unknown) => void): void
  exit(code: number): void
}

/** Creates the terminator when the primary sends its number; drains when the primary says so, and then exits. */
export class Worker {
  readonly #channel: WorkerChannel
  readonly #create: (process: number) => WorkerProcess
  readonly #drainMs: number
  #process: WorkerProcess | undefined
  #isDraining = false

  constructor(channel: WorkerChannel, create: (process: number) => WorkerProcess, drainMs: number) {
    this.#channel = channel
    this.#create = create
    this.#drainMs = drainMs
    channel.onMessage((received) => {
      const message = toWorkerSchema.parse(received)
      if (message.kind === 'start') void this.#start(message.process)
      else if (message.kind === 'drain') void this.drain()
      else if (message.kind === 'reload') this.#process?.reload()
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
    await this.#process?.stop(this.#drainMs)
    // The primary would not get what was counted since it last asked.
    this.#tellStats(() => this.#channel.exit(0))
  }

  async #start(number: number): Promise<void> {
    try {
      this.#process = this.#create(number)
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
