// What an operator sees of each peer.

import { formatAddress } from '../base/address.ts'
import type { PeerAddress, PeerAddresses } from './peer-addresses.ts'
import type { Sender } from './sender.ts'
import type { SenderTable } from './sender-table.ts'

/** A node greets every three seconds at least: three greetings lost in a row, and it is down. */
const PEER_TIMEOUT_MS = 10_000

export const PEER_SYNC_STATES = ['none', 'copying', 'comparing', 'synced', 'failed'] as const
/**
 * What became of the last copy of a peer or comparison with it that this node began. `none`: there was
 * none. `failed`: it broke off.
 */
export type PeerSyncState = (typeof PEER_SYNC_STATES)[number]

export interface PeerSync {
  readonly state: PeerSyncState
  /** Since the last one that ended well. */
  readonly lastSyncedMs: number | undefined
}

export interface PeerStatus {
  readonly role: 'node' | 'repeater'
  /** Empty as long as nobody answered at the address. */
  readonly name: string
  readonly address: string
  /** Boot ID in hex, new at every start of the peer. */
  readonly boot: string | undefined
  /** It proved to be alive after this node started: its changes are taken. */
  readonly isVerified: boolean
  /** Verified and heard within the last ten seconds. */
  readonly isUp: boolean
  /** How long ago it was last heard. */
  readonly lastSeenMs: number | undefined
  /** From sealing to arrival of its last changes, the difference of the clocks taken out. */
  readonly lagMs: number | undefined
  /** Its wall clock minus ours. */
  readonly clockDifferenceMs: number | undefined
  /** Its datagrams with changes that never arrived. */
  readonly lost: number
  /** Its datagrams with changes that arrived after they were asked for again. */
  readonly repaired: number
  /** Changes sent to its address; 0 where they go to a group. */
  readonly entriesSent: number
  readonly entriesReceived: number
  /** undefined for who does not take part: repeaters, and who is not verified. */
  readonly sync: PeerSync | undefined
}

/** Every verified sender, and every address where nobody answered yet. */
export function listPeers(
  addresses: PeerAddresses,
  senders: SenderTable,
  nowMs: number,
  syncOf: (sender: Sender) => PeerSync | undefined,
): PeerStatus[] {
  const addressesOf = new Map<Sender, PeerAddress[]>()
  const unanswered: PeerAddress[] = []
  for (const peer of addresses.all) {
    if (peer.kind === 'group') continue
    if (peer.sender === undefined) unanswered.push(peer)
    else addressesOf.set(peer.sender, [...(addressesOf.get(peer.sender) ?? []), peer])
  }
  const verified = [...senders.values()].filter((sender) => sender.isVerified)
  return [
    ...verified.map((sender) => ({
      ...statusOfSender(sender, addressesOf.get(sender) ?? [], nowMs),
      sync: sender.isRepeater ? undefined : syncOf(sender),
    })),
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
    isUp: lastSeenMs <= PEER_TIMEOUT_MS,
    lastSeenMs,
    lagMs: sender.lagMs,
    clockDifferenceMs: sender.clockDifferenceMs,
    lost: sender.lostCount,
    repaired: sender.repairedCount,
    entriesSent: peers.reduce((sum, peer) => sum + peer.entriesSent, 0),
    entriesReceived: sender.entriesReceived,
  }
}

function statusOfAddress(peer: PeerAddress): PeerStatus {
  return {
    role: peer.kind === 'repeater' ? 'repeater' : 'node',
    name: '',
    address: formatAddress(peer.address),
    boot: undefined,
    isVerified: false,
    isUp: false,
    lastSeenMs: undefined,
    lagMs: undefined,
    clockDifferenceMs: undefined,
    lost: 0,
    repaired: 0,
    entriesSent: peer.entriesSent,
    entriesReceived: 0,
    sync: undefined,
  }
}
