// The link to a node in another process: one connection at a time, made when it is first needed. While the node is
// away, new attempts are made with growing pauses (back-off).

import type { Duplex } from 'node:stream'
import { messageOf } from '../base/errors.ts'
import { type Clock, every, type Timer, type World } from '../base/world.ts'
import { FrameReader } from '../wire/framing.ts'
import {
  decodeHooksResponse,
  encodeHooksRequest,
  type HooksCall,
  type HooksResponse,
  MAX_HOOKS_FRAME_BYTES,
} from '../wire/hooks-message.ts'

/** Longest pause after the loss of a working connection. Each failed attempt doubles it; half of it is random. */
export const MIN_BACKOFF_MS = 50
export const MAX_BACKOFF_MS = 1000

/** What a link counts, in the statistics of its owner. */
export interface LinkStats {
  connects: number
  reconnects: number
  disconnects: number
  lateAnswers: number
}

export interface RemoteLinkOptions extends World {
  /** Opens a stream to the node, which may still be connecting when this returns. */
  readonly connect: () => Duplex
  /** Returns the ID of the running process. */
  readonly pid: () => number
  readonly stats: LinkStats
  /** What the log says when a connection is ready, and when the last one was lost. */
  readonly said: { readonly connected: string; readonly lost: string }
  /** Called with each connection on which the node answered. */
  readonly onReady?: (connection: RemoteConnection) => void
  /** Whether answers hold ticket keys, so that their bytes are filled with zeros after use; default false. */
  readonly isSecret?: boolean
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
    const { clock, connect, stats, isSecret = false } = this.#options
    const events = {
      onReady: () => this.#ready(),
      onLateAnswer: () => {
        stats.lateAnswers += 1
      },
      onEnd: (reason: string) => this.#lost(reason),
    }
    this.#connection = new RemoteConnection(connect(), clock, events, isSecret)
  }

  #ready(): void {
    const { clock, logger, stats, said, onReady } = this.#options
    this.#isAway = false
    this.#readySinceMs = clock.monotonicMs()
    if (stats.connects > 0) stats.reconnects += 1
    stats.connects += 1
    // The first connection is no news, unless an attempt failed before.
    const level = stats.reconnects > 0 || this.#failures > 0 ? 'info' : 'debug'
    logger[level]({ reconnects: stats.reconnects }, said.connected)
    if (this.#connection !== undefined) onReady?.(this.#connection)
  }

  #lost(reason: string): void {
    const { clock, logger, stats, said } = this.#options
    stats.disconnects += 1
    if (!this.#isAway) logger.warn({ reason }, said.lost)
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

// One connection to the rpc frontend of a node, which sends calls and matches the answers to them by number. It is
// ready when the node has answered a ping, and it ends itself when the node stops answering.

/** Most calls that may be in flight; a further one is `overloaded`. */
export const MAX_CALLS = 4096
/** Bytes waiting in the stream from which on a further call is `overloaded`. */
export const MAX_UNSENT_BYTES = 4_194_304
/** Longest silence of a node that owes answers; after it the connection is ended. */
export const STALL_TIMEOUT_MS = 1000
/** Silence after which a ping is sent: it keeps the connection open at the node, and detects a node that has gone. */
export const PING_INTERVAL_MS = 15_000

/** Period at which the connection is checked for silence. */
const LOOK_PERIOD_MS = 250
const MAX_NUMBER = 2 ** 32 - 1

/** The node's answer to a call, or why there is none; `late` means none within the deadline. */
export type Outcome = HooksResponse['result'] | 'late' | 'unreachable' | 'overloaded'

export interface RemoteConnectionEvents {
  /** The node answered for the first time. */
  onReady(): void
  onLateAnswer(): void
  /** The connection ended other than by `close`. Every call has been settled by then. */
  onEnd(reason: string): void
}

interface Pending {
  timer: Timer
  /** What takes the outcome; undefined once the deadline has passed. */
  settle: ((outcome: Outcome) => void) | undefined
}

export class RemoteConnection {
  readonly #stream: Duplex
  readonly #clock: Clock
  readonly #events: RemoteConnectionEvents
  readonly #frames = new FrameReader(MAX_HOOKS_FRAME_BYTES)
  readonly #isSecret: boolean
  readonly #pending = new Map<number, Pending>()
  /** What takes the answers of each watch, by the number of its request. */
  readonly #watches = new Map<number, (result: HooksResponse['result']) => void>()
  readonly #timer: Timer
  /** The last check before a silent node is given up: it lets an answer that has arrived be read first. */
  #lastLook: Timer | undefined
  #lastNumber = 0
  /** When bytes last came in, or when a call was sent while none was in flight. */
  #progressMs: number
  #isReady = false
  #isOver = false

  /**
   * Takes over a stream that is connected or still connecting, and sends the first ping. With `isSecret` the bytes of
   * answers are filled with zeros as soon as the answer was taken.
   */
  constructor(stream: Duplex, clock: Clock, events: RemoteConnectionEvents, isSecret = false) {
    this.#stream = stream
    this.#clock = clock
    this.#events = events
    this.#isSecret = isSecret
    this.#progressMs = clock.monotonicMs()
    stream.on('data', (piece: Buffer) => this.#receive(piece))
    stream.on('error', (error) => this.#end(messageOf(error)))
    stream.on('end', () => this.#end('the node ended the connection'))
    stream.on('close', () => this.#end('the connection was closed'))
    this.#timer = every(clock, LOOK_PERIOD_MS, () => this.#look())
    this.#ping()
  }

  get isReady(): boolean {
    return this.#isReady
  }

  /** Sends a call. `settle` is called once, after `deadlineMs` at the latest, with the answer or why there is none. */
  send(call: HooksCall, deadlineMs: number, settle: (outcome: Outcome) => void): void {
    if (this.#isOver) {
      settle('unreachable')
      return
    }
    const isFull =
      this.#pending.size >= MAX_CALLS || this.#stream.writableLength >= MAX_UNSENT_BYTES
    if (isFull) {
      settle('overloaded')
      return
    }
    if (this.#pending.size === 0) this.#progressMs = this.#clock.monotonicMs()
    const number = this.#nextNumber()
    const timer = this.#clock.after(deadlineMs, () => this.#expireSoon(number))
    this.#pending.set(number, { timer, settle })
    this.#stream.write(encodeHooksRequest(number, call))
  }

  /** Sends a call that is answered any number of times; `take` gets each answer, whose bytes it must not keep. */
  watch(call: HooksCall, take: (result: HooksResponse['result']) => void): void {
    if (this.#isOver) return
    const number = this.#nextNumber()
    this.#watches.set(number, take)
    this.#stream.write(encodeHooksRequest(number, call))
  }

  /** Ends the connection without `onEnd`. Calls in flight are settled as `unreachable`. Idempotent. */
  close(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#timer.cancel()
    this.#lastLook?.cancel()
    this.#stream.destroy()
    this.#watches.clear()
    if (this.#isSecret) this.#frames.erase()
    const pending = [...this.#pending.values()]
    this.#pending.clear()
    for (const { timer, settle } of pending) {
      timer.cancel()
      settle?.('unreachable')
    }
  }

  #end(reason: string): void {
    if (this.#isOver) return
    this.close()
    this.#events.onEnd(reason)
  }

  #receive(piece: Buffer): void {
    if (this.#isOver) return
    this.#progressMs = this.#clock.monotonicMs()
    this.#frames.append(piece)
    while (!this.#isOver) {
      const frame = this.#frames.next()
      if (frame === undefined) break
      const response = frame === 'malformed' ? undefined : decodeHooksResponse(frame)
      if (response === undefined || !this.#take(response)) this.#end('what came is no answer')
      if (this.#isSecret && frame !== 'malformed') frame.fill(0)
    }
    if (this.#isSecret) piece.fill(0)
  }

  /** Hands an answer to whom it belongs; false when nobody waits for it. */
  #take({ number, result }: HooksResponse): boolean {
    const watch = this.#watches.get(number)
    if (watch !== undefined) {
      watch(result)
      return true
    }
    const pending = this.#pending.get(number)
    if (pending === undefined) return false
    this.#pending.delete(number)
    pending.timer.cancel()
    if (pending.settle === undefined) this.#events.onLateAnswer()
    else pending.settle(result)
    return true
  }

  #nextNumber(): number {
    this.#lastNumber = (this.#lastNumber % MAX_NUMBER) + 1
    return this.#lastNumber
  }

  /** Waits one more turn of the event loop: if this process was busy, the answer may have arrived and is read first. */
  #expireSoon(number: number): void {
    const pending = this.#pending.get(number)
    if (pending !== undefined) pending.timer = this.#clock.soon(() => this.#expire(number))
  }

  #expire(number: number): void {
    const pending = this.#pending.get(number)
    const settle = pending?.settle
    if (pending === undefined || settle === undefined) return
    // The entry stays until the answer comes, which would be malformed for an unknown call.
    pending.settle = undefined
    settle('late')
  }

  #look(): void {
    if (this.#isStalled()) {
      this.#lastLook?.cancel()
      this.#lastLook = this.#clock.soon(() => {
        if (this.#isStalled()) this.#end('the node is silent')
      })
    } else if (this.#pending.size === 0 && this.#silentMs() >= PING_INTERVAL_MS) this.#ping()
  }

  #isStalled(): boolean {
    return this.#pending.size > 0 && this.#silentMs() >= STALL_TIMEOUT_MS
  }

  #silentMs(): number {
    return this.#clock.monotonicMs() - this.#progressMs
  }

  #ping(): void {
    // No caller waits for a ping: while the node sends nothing, the connection ends as stalled before this deadline.
    this.send({ kind: 'ping' }, 2 * STALL_TIMEOUT_MS, (outcome) => {
      if (typeof outcome === 'string' || this.#isReady) return
      this.#isReady = true
      this.#events.onReady()
    })
  }
}
