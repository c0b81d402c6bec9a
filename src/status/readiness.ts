// Describes in one sentence whether a node is ready and which peers it replicates with now.

import type { PeerStatus } from '../replication/peers/presence.ts'
import type { SyncStatus } from '../replication/sync/synchronizer.ts'

export interface Readiness {
  /** Whether the node serves. It does so without its peers too, since a restart would not bring them back. */
  readonly isReady: boolean
  /** Whether the node serves and, if replication is configured, replicates now. */
  readonly isStrictlyReady: boolean
  /** Says why in one sentence that names the peers heard now and those that are silent. */
  readonly reason: string
}

/** Most names that the sentence lists; the others are only counted. */
const MAX_NAMES = 5

/**
 * Returns the readiness of a node. `sync` is undefined when no replication is configured, and then the node is
 * strictly ready. A node that serves alone is ready, because a restart would not help it, but not strictly.
 */
export function readinessOf(sync: SyncStatus | undefined, peers: readonly PeerStatus[]): Readiness {
  if (sync === undefined) return ready(true, 'no replication')
  const nodes = namedNodes(peers)
  const heard = nodes.filter(({ isUp }) => isUp)
  switch (sync.state) {
    case 'joining':
      return { isReady: false, isStrictlyReady: false, reason: 'looking for peers' }
    case 'syncing': {
      const reason = `copying the sessions of ${sync.peer}`
      return { isReady: false, isStrictlyReady: false, reason }
    }
    case 'synced':
      // For up to a second this state may remain after the last peer has become silent.
      if (heard.length === 0) return ready(false, aloneReason(peers))
      return ready(
        true,
        `replicating with ${namesOf(heard)}, ${lastSync(sync)}${silentNote(nodes, heard)}`,
      )
    case 'failed':
      return ready(false, 'the copy of a peer broke off, its sessions may be missing here')
    case 'alone':
      if (heard.length === 0) return ready(false, aloneReason(peers))
      return ready(false, `hears ${namesOf(heard)}, but did not compare sessions with it yet`)
  }
}

function ready(isStrictlyReady: boolean, reason: string): Readiness {
  return { isReady: true, isStrictlyReady, reason }
}

/** Returns the peers that are nodes and have told their names: repeaters and addresses without an answer are left out. */
export function namedNodes(peers: readonly PeerStatus[]): PeerStatus[] {
  return peers.filter(({ role, name }) => role === 'node' && name !== '')
}

/** Returns why a node that hears nobody serves alone. */
export function aloneReason(peers: readonly PeerStatus[]): string {
  const silent = namedNodes(peers)
  if (silent.length > 0) return `serves alone: ${silentOf(silent)}`
  const unheard = peers.filter(({ name }) => name === '')
  if (unheard.length === 0) return 'serves alone: no peer found'
  const where = namesOf(unheard, ({ address }) => address)
  return `serves alone: no peer found, nobody answers at ${where}`
}

function lastSync({ peer, lastSyncedMs }: SyncStatus): string {
  const when = lastSyncedMs === undefined ? '' : ` ${Math.round(lastSyncedMs / 1000)} s ago`
  return `synchronized with ${peer}${when}`
}

function silentNote(nodes: readonly PeerStatus[], heard: readonly PeerStatus[]): string {
  // A restarted node is also in the list with its earlier boot, which never speaks again.
  const names = new Set(heard.map(({ name }) => name))
  const silent = nodes.filter(({ name }) => !names.has(name))
  return silent.length === 0 ? '' : `; ${silentOf(silent)}`
}

function silentOf(silent: readonly PeerStatus[]): string {
  return namesOf(silent, silentText)
}

export function silentText({ name, lastSeenMs = 0 }: PeerStatus): string {
  return `${name} has been silent for ${Math.round(lastSeenMs / 1000)} s`
}

function namesOf(
  peers: readonly PeerStatus[],
  textOf = ({ name }: PeerStatus): string => name,
): string {
  // Two boots of one node have the same name, which is listed once.
  const texts = [...new Set(peers.map(textOf))]
  const more = texts.length - MAX_NAMES
  const shown = texts.slice(0, MAX_NAMES).join(', ')
  return more > 0 ? `${shown} and ${more} more` : shown
}
