// Learns how large a datagram the path to one peer carries, from what the peer asks for again: a datagram that was
// retransmitted twice in vain, while no other one of its size arrives, is too large.

import type { Clock, Logger } from '../../base/world.ts'
import type { SequenceRange } from '../../wire/replay-window.ts'
import { pieceBytesBelow } from '../live/pieces.ts'
import type { Sender } from '../live/senders.ts'

const RESENDS_IN_VAIN = 2
/** Datagrams whose retransmissions are counted; the oldest are forgotten. */
const MAX_COUNTED = 1024
/** A datagram that arrived longer ago than this proves nothing about the path now. */
const EVIDENCE_LIFETIME_MS = 10_000
/** Whole datagrams are tried again after this time, because paths change. */
const PATH_LIFETIME_MS = 600_000
/** Most numbers between the ranges of one NACK that are taken as arrived. */
const MAX_LOOKED_AT = 512

export class PathProbe {
  readonly #sender: Sender
  readonly #clock: Clock
  readonly #logger: Logger
  /** Number of retransmissions by sequence number, the datagram retransmitted last at the end. */
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

  /** Takes the ranges of a NACK: the datagrams between them arrived. */
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

  /**
   * Counts a retransmission, before it is sent, and reduces the size of the path when two earlier ones were in vain.
   */
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

  /** Forgets the reduced size after PATH_LIFETIME_MS. */
  expire(nowMs: number): void {
    if (nowMs - this.#reducedMs > PATH_LIFETIME_MS) this.#sender.pathBytes = undefined
  }

  #noteBytes(bytes: number): void {
    // A datagram sent in pieces proves nothing about a whole one.
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
    // Counted from zero again: every datagram is now sent in the new size.
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
