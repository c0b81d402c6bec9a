// The way to a node in another process: one connection at a time, made when it is first needed and then
// again and again, further and further apart, while the node is away.

import type { Duplex } from 'node:stream'
import type { Clock, Timer } from '../base/clock.ts'
import type { Logger } from '../base/logger.ts'
import type { RandomSource } from '../base/random.ts'
import type { HooksCall } from '../wire/hooks-message.ts'
import { type Outcome, RemoteConnection } from './remote-connection.ts'
import type { RemoteStats } from './remote-stats.ts'

/** Between a loss and the first attempt; each one that fails doubles it. Half of it is left to chance. */
export const MIN_BACKOFF_MS = 50
export const MAX_BACKOFF_MS = 1000

export interface RemoteLinkOptions {
  readonly clock: Clock
  readonly logger: Logger
  readonly random: RandomSource
  /** A stream that is connected or about to be. */
  readonly connect: () => Duplex
  /** ID of the process that runs now. */
  readonly pid: () => number
  readonly stats: RemoteStats
}

export class RemoteLink {
  readonly #options: RemoteLinkOptions
  #connection: RemoteConnection | undefined
  #retry: Timer | undefined
  /** Of which the connection is; undefined before the first one. */
  #pid: number | undefined
  /** The last connection was lost, or could not be made: nobody waits for the next one. */
  #isAway = false
  #failures = 0
  #readySinceMs: number | undefined
  #isClosed = false

  constructor(options: RemoteLinkOptions) {
    this.#options = options
  }

  /** Whether the node answers. */
  get isConnected(): boolean {
    return this.#connection?.isReady ?? false
  }

  /**
   * Calls `settle` once. While the node is known to be away that is at once; the first connection of a
   * process is waited for, as far as the deadline allows.
   */
  send(call: HooksCall, deadlineMs: number, settle: (outcome: Outcome) => void): void {
    if (this.#isClosed) {
      settle('unreachable')
      return
    }
    this.#leaveOtherProcess()
    if (this.#connection === undefined && !this.#isAway) this.#connect()
    const connection = this.#connection
    const mayCall = connection?.isReady === true || !this.#isAway
    if (connection === undefined || !mayCall) settle('unreachable')
    else connection.send(call, deadlineMs, settle)
  }

  /** Ends the connection; calls that wait have no answer. Idempotent. */
  close(): void {
    this.#isClosed = true
    this.#drop()
  }

  /** A connection is never shared: whoever is a copy of the process that made it makes one of its own. */
  #leaveOtherProcess(): void {
    const pid = this.#options.pid()
    if (this.#pid === pid) return
    this.#pid = pid
    this.#drop()
    this.#isAway = false
    this.#failures = 0
  }

  #drop(): void {
    this.#retry?.cancel()
    this.#retry = undefined
    this.#connection?.close()
    this.#connection = undefined
    this.#readySinceMs = undefined
  }

  #connect(): void {
    const { clock, connect, stats } = this.#options
    this.#connection = new RemoteConnection(connect(), clock, {
      onReady: () => this.#ready(),
      onLateAnswer: () => {
        stats.lateAnswers += 1
      },
      onEnd: (reason) => this.#lost(reason),
    })
  }

  #ready(): void {
    const { clock, logger, stats } = this.#options
    this.#isAway = false
    this.#readySinceMs = clock.monotonicMs()
    if (stats.connects > 0) stats.reconnects += 1
    stats.connects += 1
    // The first time it is as expected.
    const level = stats.reconnects > 0 || this.#failures > 0 ? 'info' : 'debug'
    logger[level]({ reconnects: stats.reconnects }, 'connected to the session cache')
  }

  #lost(reason: string): void {
    const { clock, logger, stats } = this.#options
    stats.disconnects += 1
    if (!this.#isAway) {
      logger.warn({ reason }, 'the session cache is away: every handshake is a full one')
    }
    const readyMs = this.#readySinceMs === undefined ? 0 : clock.monotonicMs() - this.#readySinceMs
    // Who was there for a moment only may go on doing that.
    this.#failures = readyMs >= MAX_BACKOFF_MS ? 0 : this.#failures + 1
    this.#isAway = true
    this.#connection = undefined
    this.#readySinceMs = undefined
    this.#retry = clock.after(this.#backoffMs(), () => {
      this.#retry = undefined
      this.#connect()
    })
  }

  #backoffMs(): number {
    // 2^10 is beyond the longest already.
    const doublings = Math.min(this.#failures, 10)
    const longestMs = Math.min(MAX_BACKOFF_MS, MIN_BACKOFF_MS * 2 ** doublings)
    const chance = this.#options.random(4).readUInt32LE() / 2 ** 32
    return longestMs * (0.5 + 0.5 * chance)
  }
}
