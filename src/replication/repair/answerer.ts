// Answers NACKs with retransmissions of the sealed datagrams as they are in the log. Only a verified peer gets an
// answer, and only at its proven address; bytes per second and repetitions are bounded.

import type { HostAddress } from '../../base/address.ts'
import type { Clock, Logger } from '../../base/world.ts'
import type { Identity } from '../../wire/identity.ts'
import { encodeGone, type NackMessage } from '../../wire/message.ts'
import type { Sealer } from '../../wire/seal.ts'
import { ByteBudget } from '../live/budgets.ts'
import { PIECES_VERSION, sendWholeOrInPieces } from '../live/pieces.ts'
import type { Sender } from '../live/senders.ts'
import type { Transport } from '../live/transport.ts'
import type { PeerAddresses } from '../peers/addresses.ts'
import type { DropReason, ReplicationStats } from '../stats.ts'
import { PathProbe } from './path-probe.ts'
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

export interface RepairAnswererOptions {
  readonly identity: Identity
  readonly log: ResendLog
  readonly sealer: Sealer
  readonly transport: Transport
  readonly addresses: PeerAddresses
  readonly clock: Clock
  readonly logger: Logger
  readonly stats: ReplicationStats
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
        this.#count(sendWholeOrInPieces(this.#options, datagram, sequence, to, sender))
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
    const { log, sealer, transport } = this.#options
    const lastGone = Math.min(log.first - 1, sealer.lastSequence('changes'))
    if (!nack.ranges.some(({ from }) => from <= lastGone)) return
    this.#count(transport.send(sealer.seal('control', encodeGone(lastGone)), to))
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

  #count(isSent: boolean): void {
    const { stats } = this.#options
    if (isSent) stats.datagramsSent += 1
    else stats.dropped.queue_full += 1
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
