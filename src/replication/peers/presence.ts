// Which peers are heard now, and the status of each, as an operator sees it.

import { formatAddress, type HostAddress } from '../../base/address.ts'
import type { Clock, Logger } from '../../base/world.ts'
import type { Sender, SenderTable } from '../live/senders.ts'
import type { NodeSync } from '../node-sync.ts'
import type { PeerAddress, PeerAddresses } from './addresses.ts'

export const PEER_SYNC_STATES = ['none', 'copying', 'comparing', 'synced', 'failed'] as const
/**
 * State of the last copy of a peer or comparison with it that this node began. `none`: there was none. `failed`: it
 * ended early.
 */
export type PeerSyncState = (typeof PEER_SYNC_STATES)[number]

export interface PeerSync {
  readonly state: PeerSyncState
  /** Whether the last one that is over ended early; it stays true while the next one runs. */
  readonly hasFailed: boolean
  /** Milliseconds since the last one that succeeded; undefined before the first. */
  readonly lastSyncedMs: number | undefined
}

export interface PeerStatus {
  readonly role: 'node' | 'repeater'
  /** Node name; empty as long as nobody answered at the address. A peer that is gone keeps its name. */
  readonly name: string
  readonly address: string
  /** Boot ID in hex, new at every start of the peer; undefined while it is not verified. */
  readonly boot: string | undefined
  /** Whether it proved to be alive after this node started, so that its changes are taken. */
  readonly isVerified: boolean
  /** Whether it is verified and was heard within PEER_TIMEOUT_MS. */
  readonly isUp: boolean
  /** Milliseconds since it was last heard; undefined when it never was. */
  readonly lastSeenMs: number | undefined
  /**
   * Milliseconds from sealing to arrival of its newest changes, corrected by the difference of the clocks; undefined
   * before the first.
   */
  readonly lagMs: number | undefined
  /** Its wall clock minus ours in milliseconds; undefined until measured. */
  readonly clockDifferenceMs: number | undefined
  /** Datagrams with changes of it that never arrived. */
  readonly lost: number
  /** Datagrams with changes of it that arrived after they were asked for again. */
  readonly repaired: number
  /** Changes sent to its addresses directly, so without those sent to a group or through a repeater. */
  readonly entriesSent: number
  readonly entriesReceived: number
  /** State of copies and comparisons; undefined for repeaters and for peers that are not verified. */
  readonly sync: PeerSync | undefined
}

export interface PeerSources {
  readonly addresses: PeerAddresses
  readonly senders: SenderTable
  readonly presence: Presence
  readonly sync: NodeSync | undefined
}

/** Lists every verified sender, the peers in view that are gone, and the addresses where nobody has answered. */
export function listPeers(sources: PeerSources, nowMs: number): PeerStatus[] {
  const { addresses, senders, presence, sync } = sources
  const addressesOf = new Map<Sender, PeerAddress[]>()
  const unanswered: PeerAddress[] = []
  for (const peer of addresses.all) {
    if (peer.kind === 'group') continue
    if (peer.sender === undefined) {
      const { lastSenderId } = peer
      const isKnown = lastSenderId !== undefined && presence.peerOf(lastSenderId) !== undefined
      if (!isKnown && !peer.isOwn(nowMs)) unanswered.push(peer)
    } else addressesOf.set(peer.sender, [...(addressesOf.get(peer.sender) ?? []), peer])
  }
  const verified = [...senders.values()].filter((sender) => sender.isVerified)
  return [
    ...verified.map((sender) => ({
      ...statusOfSender(sender, addressesOf.get(sender) ?? [], nowMs),
      sync: sender.isRepeater ? undefined : sync?.statusOf(sender),
    })),
    ...presence.gone(verified).map((peer) => statusOfGone(peer, nowMs)),
    ...unanswered.map(statusOfAddress),
  ]
}

function statusOfSender(
  sender: Sender,
  peers: readonly PeerAddress[],
  nowMs: number,
): Omit<PeerStatus, 'sync'> {
  const lastSeenMs = nowMs - sender.lastHeardMs
  return {
    role: sender.isRepeater ? 'repeater' : 'node',
    name: sender.nodeName,
    address: formatAddress(peers[0]?.address ?? sender.address),
    boot: sender.bootId.toString('hex'),
    isVerified: true,
    isUp: isHeardAt(sender, nowMs),
    lastSeenMs,
    lagMs: sender.lagMs,
    clockDifferenceMs: sender.clockDifferenceMs,
    lost: sender.lostCount,
    repaired: sender.repairedCount,
    entriesSent: peers.reduce((sum, peer) => sum + peer.entriesSent, 0),
    entriesReceived: sender.entriesReceived,
  }
}

function statusOfAddress({ kind, address, entriesSent }: PeerAddress): PeerStatus {
  const role = kind === 'repeater' ? 'repeater' : 'node'
  return { ...UNHEARD, role, name: '', address: formatAddress(address), entriesSent }
}

function statusOfGone({ isRepeater, name, address, lastHeardMs }: KnownPeer, nowMs: number) {
  const role: PeerStatus['role'] = isRepeater ? 'repeater' : 'node'
  const lastSeenMs = nowMs - lastHeardMs
  return { ...UNHEARD, role, name, address: formatAddress(address), lastSeenMs, entriesSent: 0 }
}

const UNHEARD: Omit<PeerStatus, 'role' | 'name' | 'address' | 'entriesSent'> = {
  boot: undefined,
  isVerified: false,
  isUp: false,
  lastSeenMs: undefined,
  lagMs: undefined,
  clockDifferenceMs: undefined,
  lost: 0,
  repaired: 0,
  entriesReceived: 0,
  sync: undefined,
}

// Logs when a peer falls silent and when it is heard again, warns when no peer is heard, and
// keeps peers that are gone in view for a while.

/**
 * A peer that is silent for longer counts as down. It greets every three seconds at least, so three greetings must be
 * lost.
 */
export const PEER_TIMEOUT_MS = 10_000
/** A node that has peers configured and hears none warns after this time, and again after each period. */
export const ALONE_WARNING_MS = 30_000
export const ALONE_WARNING_PERIOD_MS = 300_000
/**
 * How long a peer that is not configured stays in view after it was last heard; a configured one stays as long as the
 * process runs.
 */
export const GONE_LIFETIME_MS = 3_600_000
/** Peers in view; beyond that, those silent for longest are forgotten. */
const MAX_KNOWN = 2048
/** Peers that fall silent in the same second get this many log lines; one more line counts the rest. */
const MAX_LINES = 8

/** One node or repeater, whatever its boot. */
export interface KnownPeer {
  readonly name: string
  readonly isRepeater: boolean
  /** Its last known address. */
  readonly address: HostAddress
  readonly syncPort: number | undefined
  /** When the last datagram of any of its boots arrived. */
  readonly lastHeardMs: number
  /** Whether a datagram had arrived within PEER_TIMEOUT_MS before the last look. */
  readonly isHeard: boolean
}

export interface PresenceOptions {
  readonly addresses: PeerAddresses
  readonly clock: Clock
  readonly logger: Logger
  readonly sync: NodeSync | undefined
}

export class Presence {
  readonly #options: PresenceOptions
  /** Peers in view, by the text that `senderKeyOf` makes of the sender ID. */
  readonly #known = new Map<string, KnownPeer>()
  /** When any node was last heard; the start before that. */
  #heardMs: number
  #nextWarningMs: number

  constructor(options: PresenceOptions) {
    this.#options = options
    this.#heardMs = options.clock.monotonicMs()
    this.#nextWarningMs = this.#heardMs + ALONE_WARNING_MS
  }

  /** Updates which peers are heard, and logs the changes; to be called about once a second. */
  look(senders: Iterable<Sender>): void {
    const nowMs = this.#options.clock.monotonicMs()
    const wentSilent: KnownPeer[] = []
    const latest = latestByPeer(senders)
    for (const key of new Set([...this.#known.keys(), ...latest.keys()])) {
      const before = this.#known.get(key)
      const sender = latest.get(key)
      const after = peerAfter(before, sender, nowMs)
      if (after === undefined) continue
      this.#known.set(key, after)
      if (before?.isHeard === true && !after.isHeard) wentSilent.push(after)
      if (before?.isHeard === false && after.isHeard) this.#welcome(before, sender)
    }
    this.#logSilent(wentSilent, nowMs)
    this.#forgetOld(nowMs)
    this.#checkAlone(nowMs)
  }

  /** The peer with this sender ID, heard or silent; undefined when it is not in view. */
  peerOf(senderId: Buffer): KnownPeer | undefined {
    return this.#known.get(senderKeyOf(senderId))
  }

  /** Peers in view that have no verified boot among `senders`. */
  gone(senders: Iterable<Sender>): KnownPeer[] {
    const present = latestByPeer(senders)
    return [...this.#known].filter(([key]) => !present.has(key)).map(([, peer]) => peer)
  }

  #welcome(before: KnownPeer, sender: Sender | undefined): void {
    const { logger, clock, sync } = this.#options
    const silentSec = Math.round((clock.monotonicMs() - before.lastHeardMs) / 1000)
    const address = formatAddress(sender?.address ?? before.address)
    logger.info(
      { peer: before.name, address, silentSec },
      `${roleOf(before)} ${before.name} is heard again after ${silentSec} s of silence`,
    )
    if (sender !== undefined && !sender.isRepeater) sync?.greet(sender)
  }

  #logSilent(peers: readonly KnownPeer[], nowMs: number): void {
    const { logger } = this.#options
    for (const peer of peers.slice(0, MAX_LINES)) {
      const silentSec = Math.round((nowMs - peer.lastHeardMs) / 1000)
      const effect = peer.isRepeater ? 'it passes nothing on' : 'nothing is replicated to it'
      logger.warn(
        { peer: peer.name, address: formatAddress(peer.address), silentSec },
        `${roleOf(peer)} ${peer.name} has been silent for ${silentSec} s: ${effect}; ` +
          `check that ${portsOf(peer)} open between the nodes`,
      )
    }
    const more = peers.length - MAX_LINES
    if (more > 0) logger.warn({ peers: more }, `${more} more peers fell silent at the same time`)
  }

  #checkAlone(nowMs: number): void {
    const { addresses, logger, sync } = this.#options
    const nodes = [...this.#known.values()].filter(({ isRepeater }) => !isRepeater)
    if (nodes.some(({ isHeard }) => isHeard)) {
      this.#heardMs = Math.max(this.#heardMs, ...nodes.map(({ lastHeardMs }) => lastHeardMs))
      this.#nextWarningMs = this.#heardMs + ALONE_WARNING_MS
      return
    }
    sync?.lose()
    const listed = addresses.all.filter((peer) => isListedByPerson(peer) && !peer.isOwn(nowMs))
    const [first] = listed
    if (first === undefined || nowMs < this.#nextWarningMs) return
    this.#nextWarningMs = nowMs + ALONE_WARNING_PERIOD_MS
    const silentSec = Math.round((nowMs - this.#heardMs) / 1000)
    const count = listed.length === 1 ? '1 address is' : `${listed.length} addresses are`
    logger.warn(
      {
        addresses: listed.slice(0, MAX_LINES).map(({ address }) => formatAddress(address)),
        silentSec,
      },
      `no peer has been heard for ${silentSec} s, although ${count} listed: this node serves alone; check that ` +
        `UDP and TCP port ${first.address.port} are open between the nodes and that all have the same keys`,
    )
  }

  #forgetOld(nowMs: number): void {
    const listed = new Set(
      this.#options.addresses.all
        .filter(isListedByPerson)
        .map(({ lastSenderId }) => lastSenderId && senderKeyOf(lastSenderId)),
    )
    const silent = [...this.#known].filter(([, { isHeard }]) => !isHeard)
    silent.sort(([, a], [, b]) => a.lastHeardMs - b.lastHeardMs)
    for (const [key, { lastHeardMs }] of silent) {
      const isOld = nowMs - lastHeardMs > GONE_LIFETIME_MS && !listed.has(key)
      if (isOld || this.#known.size > MAX_KNOWN) this.#known.delete(key)
    }
  }
}

function isListedByPerson({ kind }: PeerAddress): boolean {
  return kind === 'peer' || kind === 'repeater'
}

function senderKeyOf(senderId: Buffer): string {
  return senderId.toString('latin1')
}

/** The verified boot heard last of each peer, by the text that `senderKeyOf` makes. */
function latestByPeer(senders: Iterable<Sender>): Map<string, Sender> {
  const latest = new Map<string, Sender>()
  for (const sender of senders) {
    if (!sender.isVerified) continue
    const key = senderKeyOf(sender.senderId)
    const other = latest.get(key)
    if (other === undefined || sender.lastHeardMs > other.lastHeardMs) latest.set(key, sender)
  }
  return latest
}

function peerAfter(
  before: KnownPeer | undefined,
  sender: Sender | undefined,
  nowMs: number,
): KnownPeer | undefined {
  if (sender === undefined) return before && { ...before, isHeard: isHeardAt(before, nowMs) }
  const { nodeName: name, isRepeater, address, syncPort, lastHeardMs } = sender
  return { name, isRepeater, address, syncPort, lastHeardMs, isHeard: isHeardAt(sender, nowMs) }
}

/** Whether the last datagram came within PEER_TIMEOUT_MS. */
export function isHeardAt(
  { lastHeardMs }: { readonly lastHeardMs: number },
  nowMs: number,
): boolean {
  return nowMs - lastHeardMs <= PEER_TIMEOUT_MS
}

function roleOf({ isRepeater }: KnownPeer): string {
  return isRepeater ? 'repeater' : 'peer'
}

function portsOf({ isRepeater, address, syncPort }: KnownPeer): string {
  if (isRepeater) return `UDP port ${address.port} is`
  if (syncPort === undefined || syncPort === address.port)
    return `UDP and TCP port ${address.port} are`
  return `UDP port ${address.port} and TCP port ${syncPort} are`
}
