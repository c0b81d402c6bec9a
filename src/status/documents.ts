// Describes a node, its caches and its peers for answers in JSON, which never hold a session or a key.

import { toJson } from '../base/counters.ts'
import type { PeerStatus } from '../replication/peers/presence.ts'
import type { ReplicationStats } from '../replication/stats.ts'
import type { SyncStatus } from '../replication/sync/synchronizer.ts'
import type { CacheLimits } from '../store/limits.ts'
import type { CacheStats } from '../store/stats.ts'
import type { Readiness } from './readiness.ts'

export interface CacheStatus {
  readonly limits: CacheLimits
  readonly singleUse: boolean
  readonly stats: CacheStats
}

/** A node, as far as it is shown over HTTP and on the stats frontend. */
export interface ShownNode {
  readonly nodeName: string
  readonly caches: ReadonlyMap<string, CacheStatus>
  readiness(): Readiness
  peers(): readonly PeerStatus[]
  /** Synchronization with peers; undefined for a repeater, and when no replication is configured. */
  syncStatus(): SyncStatus | undefined
  /** Counters of replication; undefined for a repeater, and when no replication is configured. */
  replicationStats(): ReplicationStats | undefined
}

export function describeCache({ limits, singleUse, stats }: CacheStatus) {
  const { items, changed_wall_ms: _changedWallMs, ...counts } = toJson(stats)
  return {
    name: limits.name,
    items,
    items_limit: limits.items,
    keysize: limits.keysize,
    blocksize: limits.blocksize,
    memory_limit_bytes: limits.memoryBytes ?? null,
    timeout_ms: limits.timeoutMs,
    contexts_hex: limits.contexts?.map((context) => Buffer.from(context).toString('hex')) ?? null,
    full: limits.full,
    single_use: singleUse,
    ...counts,
  }
}

export function describeReadiness({ isReady, reason }: Readiness) {
  return { ready: isReady, reason }
}

/** Describes how a node replicates, and with which peers. */
export function describeReplication(node: ShownNode) {
  const stats = node.replicationStats()
  return {
    node: node.nodeName,
    ...describeReadiness(node.readiness()),
    replication: stats === undefined ? null : toJson(stats),
    sync: describeSync(node.syncStatus()),
    peers: node.peers().map(describePeer),
  }
}

export function describePeer(peer: PeerStatus) {
  return {
    role: peer.role,
    name: peer.name,
    address: peer.address,
    boot: peer.boot ?? null,
    up: peer.isUp,
    verified: peer.isVerified,
    last_seen_ms: rounded(peer.lastSeenMs),
    lag_ms: rounded(peer.lagMs),
    clock_difference_ms: rounded(peer.clockDifferenceMs),
    lost: peer.lost,
    repaired: peer.repaired,
    entries_sent: peer.entriesSent,
    entries_received: peer.entriesReceived,
    sync: describePeerSync(peer.sync),
  }
}

function describePeerSync(sync: PeerStatus['sync']) {
  if (sync === undefined) return null
  return { state: sync.state, last_synced_ms: rounded(sync.lastSyncedMs) }
}

export function describeSync(status: SyncStatus | undefined) {
  if (status === undefined) return null
  const { state, peer, lastSyncedMs } = status
  return { state, peer, last_synced_ms: rounded(lastSyncedMs) }
}

function rounded(durationMs: number | undefined): number | null {
  return durationMs === undefined ? null : Math.round(durationMs)
}
