// The status of each peer, as an operator sees it.

import { formatAddress } from '../base/address.ts'
import type { PeerAddress, PeerAddresses } from './peer-addresses.ts'
import { isHeardAt, type KnownPeer, type Presence } from './presence.ts'
import type { Sender } from './sender.ts'
import type { SenderTable } from './sender-table.ts'

export const PEER_SYNC_STATES = ['none', 'copying', 'comparing', 'synced', 'failed'] as const
/**
 * State of the last copy of a peer or comparison with it that this node began. `none`: there was none. `failed`: it
 * ended early.
 */
export type PeerSyncState = (typeof PEER_SYNC_STATES)[number]

export interface PeerSync {
  readonly state: PeerSyncState
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
  readonly syncOf: (sender: Sender) => PeerSync | undefined
}

/** Lists every verified sender, the peers in view that are gone, and the addresses where nobody has answered. */
export function listPeers(sources: PeerSources, nowMs: number): PeerStatus[] {
  const { addresses, senders, presence, syncOf } = sources
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
      sync: sender.isRepeater ? undefined : syncOf(sender),
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
