// One connection to the rpc frontend of a node: calls out, answers in, matched by number. It is ready when
// the node answered a ping, and ends by itself when the node does not go on answering.

import type { Duplex } from 'node:stream'
import { type Clock, every, type Timer } from '../base/clock.ts'
import { messageOf } from '../base/errors.ts'
import { FrameReader } from '../wire/framing.ts'
import {
  decodeHooksResponse,
  encodeHooksRequest,
  type HooksCall,
  type HooksResponse,
  MAX_HOOKS_FRAME_BYTES,
} from '../wire/hooks-message.ts'

/** Calls that may wait for their answers at once. */
export const MAX_CALLS = 4096
/** Calls that may wait in the stream. */
export const MAX_UNSENT_BYTES = 4_194_304
/** A node that owes answers and is silent for so long is away. */
export const STALL_TIMEOUT_MS = 1000
/** Keeps the connection open at the other end, and finds out when that has gone. */
export const PING_INTERVAL_MS = 15_000

const WATCH_MS = 250
const MAX_NUMBER = 2 ** 32 - 1

/** `late`: not within the deadline. */
export type Outcome = HooksResponse['result'] | 'late' | 'unreachable' | 'overloaded'

export interface RemoteConnectionEvents {
  /** The node answered for the first time. */
  onReady(): void
  onLateAnswer(): void
  /** It is over, by itself; every call has been settled. */
  onEnd(reason: string): void
}

interface Pending {
  timer: Timer
  /** Absent when the deadline has passed. */
  settle: ((outcome: Outcome) => void) | undefined
}

export class RemoteConnection {
  readonly #stream: Duplex
  readonly #clock: Clock
  readonly #events: RemoteConnectionEvents
  readonly #frames = new FrameReader(MAX_HOOKS_FRAME_BYTES)
  readonly #pending = new Map<number, Pending>()
  readonly #watch: Timer
  /** Before a verdict, as for calls that are late. */
  #lastLook: Timer | undefined
  #lastNumber = 0
  /** When something came last, or the first of the calls that wait now was sent. */
  #progressMs: number
  #isReady = false
  #isOver = false

  /** Takes the stream over, connected or about to be. */
  constructor(stream: Duplex, clock: Clock, events: RemoteConnectionEvents) {
    this.#stream = stream
    this.#clock = clock
    this.#events = events
    this.#progressMs = clock.monotonicMs()
    stream.on('data', (piece: Buffer) => this.#receive(piece))
    stream.on('error', (error) => this.#end(messageOf(error)))
    stream.on('end', () => this.#end('the node ended the connection'))
    stream.on('close', () => this.#end('the connection was closed'))
    this.#watch = every(clock, WATCH_MS, () => this.#look())
    this.#ping()
  }

  get isReady(): boolean {
    return this.#isReady
  }

  /** Calls `settle` once: with the answer, or with why there is none, after `deadlineMs` at the latest. */
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
    const number = (this.#lastNumber % MAX_NUMBER) + 1
    this.#lastNumber = number
    const timer = this.#clock.after(deadlineMs, () => this.#expireSoon(number))
    this.#pending.set(number, { timer, settle })
    this.#stream.write(encodeHooksRequest(number, call))
  }

  /** Ends it without telling, apart from the calls that wait. Idempotent. */
  close(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#watch.cancel()
    this.#lastLook?.cancel()
    this.#stream.destroy()
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
      if (frame === undefined) return
      const response = frame === 'malformed' ? undefined : decodeHooksResponse(frame)
      const pending = response && this.#pending.get(response.number)
      if (response === undefined || pending === undefined) {
        this.#end('what came is no answer')
        return
      }
      this.#pending.delete(response.number)
      pending.timer.cancel()
      if (pending.settle === undefined) this.#events.onLateAnswer()
      else pending.settle(response.result)
    }
  }

  /** When this process was busy itself, the answer may be here already: what has come is read first. */
  #expireSoon(number: number): void {
    const pending = this.#pending.get(number)
    if (pending !== undefined) pending.timer = this.#clock.soon(() => this.#expire(number))
  }

  #expire(number: number): void {
    const pending = this.#pending.get(number)
    const settle = pending?.settle
    if (pending === undefined || settle === undefined) return
    // Kept until the answer comes, so that it is known as such.
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
    // Nobody waits for this one: without an answer the connection ends.
    this.send({ kind: 'ping' }, 2 * STALL_TIMEOUT_MS, (outcome) => {
      if (typeof outcome === 'string' || this.#isReady) return
      this.#isReady = true
      this.#events.onReady()
    })
  }
}
