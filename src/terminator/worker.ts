// A worker of the reference terminator: one process of several, which does as its primary says.

import { type Address, formatAddress } from '../base/address.ts'
import { messageOf } from '../base/errors.ts'
import type { TerminatorStats } from './stats.ts'
import { type FromWorker, toWorkerSchema } from './worker-messages.ts'

/** What runs in a worker. */
export interface WorkerProcess {
  start(): Promise<readonly Address[]>
  stop(drainMs: number): Promise<void>
  /** Reads files again and logs how that went. */
  reload(): void
  readStats(): TerminatorStats
}

/** The ends of the channel to the primary, and what ends the process. */
export interface WorkerChannel {
  send(message: FromWorker, sent: () => void): void
  onMessage(listener: (message: unknown) => void): void
  exit(code: number): void
}

/** Creates the process when told which one it is; drains when told to, and then exits. */
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

  /** Resolves when the last connection has ended and the process is about to. Idempotent. */
  async drain(): Promise<void> {
    if (this.#isDraining) return
    this.#isDraining = true
    await this.#process?.stop(this.#drainMs)
    // What was counted since the last question would be lost.
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
