// The link to a node in another process: one connection at a time, made when it is first needed. While the node is
// away, new attempts are made with growing pauses (back-off).

import type { Duplex } from 'node:stream'
import type { Clock, Timer } from '../base/clock.ts'
import type { Logger } from '../base/logger.ts'
import type { RandomSource } from '../base/random.ts'
import type { HooksCall } from '../wire/hooks-message.ts'
import { type Outcome, RemoteConnection } from './remote-connection.ts'
import type { RemoteStats } from './remote-stats.ts'

/** Longest pause after the loss of a working connection. Each failed attempt doubles it; half of it is random. */
export const MIN_BACKOFF_MS = 50
export const MAX_BACKOFF_MS = 1000

export interface RemoteLinkOptions {
  readonly clock: Clock
  readonly logger: Logger
  readonly random: RandomSource
  /** Opens a stream to the node, which may still be connecting when this returns. */
  readonly connect: () => Duplex
  /** Returns the ID of the running process. */
  readonly pid: () => number
  readonly stats: RemoteStats
}

export class RemoteLink {
  readonly #options: RemoteLinkOptions
  #connection: RemoteConnection | undefined
  #retry: Timer | undefined
  /** Process that opened the connection, since a fork must open its own; undefined before the first one. */
  #pid: number | undefined
  /** Whether the last connection was lost or could not be made. Calls then fail at once until the next one is ready. */
  #isAway = false
  #failures = 0
  #readySinceMs: number | undefined
  #isClosed = false

  constructor(options: RemoteLinkOptions) {
    this.#options = options
  }

  /** Whether there is a connection on which the node answered. */
  get isConnected(): boolean {
    return this.#connection?.isReady ?? false
  }

  /**
   * Sends a call and calls `settle` once: at once while the node is known to be away. The first connection of a process
   * is waited for, within the deadline.
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

  /** Ends the connection for good. Calls in flight and later ones are `unreachable`. Idempotent. */
  close(): void {
    this.#isClosed = true
    this.#drop()
  }

  /** Drops a connection that another process made: a fork must not share the connection of its parent. */
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
    // The first connection is no news, unless an attempt failed before.
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
    // A connection that lasted less than MAX_BACKOFF_MS counts as failed, since the next ones may be as short.
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
    // Ten doublings are above MAX_BACKOFF_MS already.
    const doublings = Math.min(this.#failures, 10)
    const longestMs = Math.min(MAX_BACKOFF_MS, MIN_BACKOFF_MS * 2 ** doublings)
    const chance = this.#options.random(4).readUInt32LE() / 2 ** 32
    return longestMs * (0.5 + 0.5 * chance)
  }
}
