// Answers NACKs with the very datagrams that were lost, as they were sealed. Only a verified peer gets an
// answer, at the address where it proved to be alive; how much and how often is bounded.

import type { HostAddress } from '../base/address.ts'
import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/logger.ts'
import type { Identity } from '../wire/identity.ts'
import { encodeGone, type NackMessage } from '../wire/message.ts'
import type { Sealer } from '../wire/seal.ts'
import { ByteBudget } from './byte-budget.ts'
import { PathProbe } from './path-probe.ts'
import type { PeerAddresses } from './peer-addresses.ts'
import { PIECES_VERSION, sendWholeOrInPieces } from './pieces.ts'
import { RecentResends } from './recent-resends.ts'
import type { ResendLog } from './resend-log.ts'
import type { Sender } from './sender.ts'
import type { DropReason, ReplicationStats } from './stats.ts'
import type { Transport } from './transport.ts'

/** Leaves a fast network to live traffic; what does not go now is asked for again. */
export const RESEND_BYTES_PER_SEC = 16 * 1024 * 1024
export const RESEND_BURST_BYTES = 512 * 1024
/** Nothing is sent twice within a round trip, nor within what a timer may be early. */
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

  /** Takes a NACK that authenticated and was no replay; returns why it gets no answer. */
  receive(nack: NackMessage, sender: Sender): DropReason | undefined {
    const { identity, log } = this.#options
    const { provenAddress } = sender
    // One to another boot or node says nothing here, whoever passed it on.
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

  /** To be called about every second. */
  sweep(nowMs: number): void {
    for (const path of this.#paths.values()) path.expire(nowMs)
  }

  forget(sender: Sender): void {
    this.#toPeers.delete(sender)
    this.#paths.delete(sender)
  }

  /** Shorter than any NACK. */
  #sayWhatIsGone(nack: NackMessage, to: HostAddress): void {
    const { log, sealer, transport } = this.#options
    const lastGone = Math.min(log.first - 1, sealer.lastSequence('changes'))
    if (!nack.ranges.some(({ from }) => from <= lastGone)) return
    this.#count(transport.send(sealer.seal('control', encodeGone(lastGone)), to))
  }

  /** The group, when that is where the peer gets our changes from. */
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

  /** What is known of the path to a peer that understands pieces. */
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
