// What the HTTP frontend needs of the node behind it.

import type { Awaitable, SessionHooks } from '../../hooks/hooks.ts'
import type { PeerStatus } from '../../replication/peers/presence.ts'
import type { ReplicationStats } from '../../replication/stats.ts'
import type { SyncStatus } from '../../replication/sync/synchronizer.ts'
import type { Cluster } from '../../status/cluster.ts'
import type { Readiness } from '../../status/readiness.ts'
import type { ClusterTrace } from '../../status/trace.ts'
import type { CacheLimits } from '../../store/limits.ts'
import type { RefusedSession } from '../../store/refusals.ts'
import type { CacheStats, RefusalReason } from '../../store/stats.ts'
import type { TicketsStatus } from '../../tickets/report.ts'

export interface HttpCache {
  readonly limits: CacheLimits
  readonly singleUse: boolean
  readonly stats: CacheStats
  readonly hooks: SessionHooks
  /** Counts and logs a put that was refused before it came to the hooks. */
  refuse(reason: RefusalReason, refused: RefusedSession): void
}

export interface HttpBackend {
  readonly nodeName: string
  /** Caches by name; a repeater has none. */
  readonly caches: ReadonlyMap<string, HttpCache>
  /** What all nodes of the cluster say of themselves; a repeater has none. */
  readonly cluster?: Cluster
  /** Resolves with where a session is on all nodes, and has them follow it; a repeater cannot. */
  trace?(id: Buffer, followMs: number): Promise<ClusterTrace>
  /** Ticket keys without their secrets; undefined for a repeater, and where none are configured. */
  readonly tickets?: TicketsStatus | undefined
  readiness(): Readiness
  peers(): readonly PeerStatus[]
  /** Synchronization with peers; undefined for a repeater, and when no replication is configured. */
  syncStatus(): SyncStatus | undefined
  /** Counters of replication; undefined for a repeater, and when no replication is configured. */
  replicationStats(): ReplicationStats | undefined
  /** Returns all metrics in the Prometheus text format. */
  metrics(): Awaitable<{ readonly contentType: string; readonly text: string }>
}
