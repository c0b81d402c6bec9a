// What the path to one peer carries, learned from what the peer asks for again: a datagram that was resent twice in
// vain while no other one of its size arrives is too large for the path.

import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/logger.ts'
import type { SequenceRange } from '../wire/replay-window.ts'
import { pieceBytesBelow } from './pieces.ts'
import type { Sender } from './sender.ts'

const RESENDS_IN_VAIN = 2
/** Datagrams whose resends are counted; the oldest are forgotten. */
const MAX_COUNTED = 1024
/** What arrived this long ago says nothing about the path now. */
const EVIDENCE_LIFETIME_MS = 10_000
/** After this the whole datagram is tried again: paths change. */
const PATH_LIFETIME_MS = 600_000
/** Numbers between those asked for that are looked at, in one NACK. */
const MAX_LOOKED_AT = 512

export class PathProbe {
  readonly #sender: Sender
  readonly #clock: Clock
  readonly #logger: Logger
  /** How often each datagram was resent, by sequence, oldest first. */
  readonly #resends = new Map<number, number>()
  #arrivedBytes = 0
  #arrivedMs = Number.NEGATIVE_INFINITY
  #reducedMs = Number.NEGATIVE_INFINITY
  #isLogged = false

  constructor(sender: Sender, clock: Clock, logger: Logger) {
    this.#sender = sender
    this.#clock = clock
    this.#logger = logger
  }

  /** A peer asked for these ranges: what lies between them arrived. */
  noteArrived(ranges: readonly SequenceRange[], lengthOf: (sequence: number) => number): void {
    let left = MAX_LOOKED_AT
    for (const [index, { to }] of ranges.entries()) {
      const next = ranges[index + 1]?.from ?? to
      for (let sequence = to + 1; sequence < next && left > 0; sequence += 1) {
        left -= 1
        this.#noteBytes(lengthOf(sequence))
      }
    }
  }

  /** A datagram is about to be resent: perhaps the path does not carry it. */
  noteResend(sequence: number, bytes: number): void {
    const nowMs = this.#clock.monotonicMs()
    const count = this.#resends.get(sequence) ?? 0
    this.#resends.delete(sequence)
    this.#resends.set(sequence, count + 1)
    const [oldest] = this.#resends.keys()
    if (this.#resends.size > MAX_COUNTED && oldest !== undefined) this.#resends.delete(oldest)
    if (count < RESENDS_IN_VAIN) return
    const sentBytes = Math.min(bytes, this.#sender.pathBytes ?? bytes)
    const isCarried = this.#arrivedBytes >= sentBytes
    if (isCarried && nowMs - this.#arrivedMs <= EVIDENCE_LIFETIME_MS) return
    this.#reduce(sentBytes, nowMs)
  }

  /** Lets whole datagrams be tried again after a while. */
  expire(nowMs: number): void {
    if (nowMs - this.#reducedMs > PATH_LIFETIME_MS) this.#sender.pathBytes = undefined
  }

  #noteBytes(bytes: number): void {
    // What came in pieces says nothing about a whole one.
    if (bytes > (this.#sender.pathBytes ?? bytes)) return
    const nowMs = this.#clock.monotonicMs()
    const isOld = nowMs - this.#arrivedMs > EVIDENCE_LIFETIME_MS
    if (bytes < this.#arrivedBytes && !isOld) return
    this.#arrivedBytes = bytes
    this.#arrivedMs = nowMs
  }

  #reduce(sentBytes: number, nowMs: number): void {
    const pathBytes = pieceBytesBelow(sentBytes)
    if (pathBytes === undefined) return
    this.#sender.pathBytes = pathBytes
    this.#reducedMs = nowMs
    // Each gets its chance in the new size.
    this.#resends.clear()
    if (this.#isLogged) return
    this.#isLogged = true
    const { nodeName } = this.#sender
    this.#logger.warn(
      { peer: nodeName, lostBytes: sentBytes, pieceBytes: pathBytes },
      'replication: large datagrams do not reach a peer, so they go to it in pieces; ' +
        'lower replication.max_datagram, or let ICMP "packet too big" pass',
    )
  }
}
