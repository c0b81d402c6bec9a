// Answers NACKs with retransmissions of the sealed datagrams as they are in the log. Only a verified peer gets an
// answer, and only at its proven address; bytes per second and repetitions are bounded.

import type { HostAddress } from '../../base/address.ts'
import type { Clock, Logger } from '../../base/world.ts'
import type { Identity } from '../../wire/identity.ts'
import { encodeGone, type NackMessage } from '../../wire/message.ts'
import type { SequenceRange } from '../../wire/replay-window.ts'
import { ByteBudget } from '../live/budgets.ts'
import type { Sender } from '../live/senders.ts'
import {
  PIECES_VERSION,
  pieceBytesBelow,
  type Sending,
  send,
  sendWholeOrInPieces,
} from '../live/sending.ts'
import type { DropReason } from '../stats.ts'
import type { ResendLog } from './resend-log.ts'

/**
 * Rate and burst of retransmissions: most of a fast network is left to new changes. The peer asks again for what was
 * not sent.
 */
export const RESEND_BYTES_PER_SEC = 16 * 1024 * 1024
export const RESEND_BURST_BYTES = 512 * 1024
/**
 * A datagram is retransmitted no sooner than this, nor within a round trip, after the last time; a timer may fire a
 * little early.
 */
const MIN_RESEND_INTERVAL_MS = 3

export interface RepairAnswererOptions extends Sending {
  readonly identity: Identity
  readonly log: ResendLog
  readonly logger: Logger
}

export class RepairAnswerer {
  readonly #options: RepairAnswererOptions
  readonly #budget: ByteBudget
  readonly #toGroup: RecentResends
  readonly #toPeers = new Map<Sender, RecentResends>()
  readonly #paths = new Map<Sender, PathProbe>()

  constructor(options: RepairAnswererOptions) {
    this.#options = options
    this.#budget = new ByteBudget(options.clock, RESEND_BYTES_PER_SEC, RESEND_BURST_BYTES)
    this.#toGroup = new RecentResends(options.clock)
  }

  /** Answers a NACK that authenticated and was no replay; returns the reason when it is dropped. */
  receive(nack: NackMessage, sender: Sender): DropReason | undefined {
    const { identity, log } = this.#options
    const { provenAddress } = sender
    // A NACK to another boot or node is ignored, whatever way it came here.
    if (provenAddress === undefined || !nack.bootId.equals(identity.bootId)) return 'stale'
    const group = this.#groupOf(sender)
    const recent = group === undefined ? this.#recentTo(sender) : this.#toGroup
    const path = this.#pathTo(sender)
    path?.noteArrived(nack.ranges, (sequence) => log.lengthOf(sequence))
    const intervalMs = Math.max(MIN_RESEND_INTERVAL_MS, sender.roundTripMs)
    for (const { from, to } of nack.ranges) {
      for (let sequence = Math.max(from, log.first); sequence <= to; sequence += 1) {
        if (recent.isRecent(sequence, intervalMs)) continue
        const datagram = log.get(sequence)
        if (datagram === undefined) break
        if (!this.#budget.take(datagram.length)) return undefined
        recent.note(sequence)
        path?.noteResend(sequence, datagram.length)
        const isSmallPath = sender.pathBytes !== undefined && datagram.length > sender.pathBytes
        const to = isSmallPath ? provenAddress : (group ?? provenAddress)
        sendWholeOrInPieces(this.#options, datagram, sequence, to, sender)
      }
    }
    this.#sayWhatIsGone(nack, provenAddress)
    return undefined
  }

  /** Forgets old findings about the paths; to be called about once a second. */
  sweep(nowMs: number): void {
    for (const path of this.#paths.values()) path.expire(nowMs)
  }

  forget(sender: Sender): void {
    this.#toPeers.delete(sender)
    this.#paths.delete(sender)
  }

  /**
   * Sends the last sequence number that the log no longer has, if the NACK asks for any such. The message is shorter
   * than every NACK, so it amplifies nothing.
   */
  #sayWhatIsGone(nack: NackMessage, to: HostAddress): void {
    const { log, sealer } = this.#options
    const lastGone = Math.min(log.first - 1, sealer.lastSequence('changes'))
    if (!nack.ranges.some(({ from }) => from <= lastGone)) return
    send(this.#options, sealer.seal('control', encodeGone(lastGone)), to)
  }

  /** The multicast group when the peer receives our changes through it; undefined when it has an address of its own. */
  #groupOf(sender: Sender): HostAddress | undefined {
    const { transport, addresses } = this.#options
    const isUnicast = addresses.all.some((peer) => peer.kind !== 'group' && peer.sender === sender)
    return isUnicast ? undefined : transport.group
  }

  #recentTo(sender: Sender): RecentResends {
    const recent = this.#toPeers.get(sender) ?? new RecentResends(this.#options.clock)
    this.#toPeers.set(sender, recent)
    return recent
  }

  /** The path probe of a peer; undefined when its protocol version has no pieces. */
  #pathTo(sender: Sender): PathProbe | undefined {
    if (sender.version < PIECES_VERSION) return undefined
    const { clock, logger } = this.#options
    const path = this.#paths.get(sender) ?? new PathProbe(sender, clock, logger)
    this.#paths.set(sender, path)
    return path
  }
}

// Which datagrams were retransmitted a moment ago, to one peer or to the group.

/**
 * Retransmissions remembered. When this many are remembered and the oldest of them is recent, every datagram counts as
 * recent.
 */
const MAX_RESENDS = 4096

export class RecentResends {
  readonly #clock: Clock
  /** Time of the last retransmission by sequence number, oldest first. */
  readonly #sentMs = new Map<number, number>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  isRecent(sequence: number, intervalMs: number): boolean {
    const sinceMs = this.#clock.monotonicMs() - intervalMs
    const sentMs = this.#sentMs.get(sequence)
    if (sentMs !== undefined) return sentMs > sinceMs
    if (this.#sentMs.size < MAX_RESENDS) return false
    const [oldestMs = 0] = this.#sentMs.values()
    return oldestMs > sinceMs
  }

  /** Notes a retransmission now; forgets the oldest when MAX_RESENDS are exceeded. */
  note(sequence: number): void {
    this.#sentMs.delete(sequence)
    this.#sentMs.set(sequence, this.#clock.monotonicMs())
    if (this.#sentMs.size <= MAX_RESENDS) return
    const [oldest] = this.#sentMs.keys()
    if (oldest !== undefined) this.#sentMs.delete(oldest)
  }
}

// Learns how large a datagram the path to one peer carries, from what the peer asks for again: a datagram that was
// retransmitted twice in vain, while no other one of its size arrives, is too large.

const RESENDS_IN_VAIN = 2
/** Datagrams whose retransmissions are counted; the oldest are forgotten. */
const MAX_COUNTED = 1024
/** A datagram that arrived longer ago than this proves nothing about the path now. */
const EVIDENCE_LIFETIME_MS = 10_000
/** Whole datagrams are tried again after this time, because paths change. */
const PATH_LIFETIME_MS = 600_000
/** Most numbers between the ranges of one NACK that are taken as arrived. */
const MAX_LOOKED_AT = 512

class PathProbe {
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
