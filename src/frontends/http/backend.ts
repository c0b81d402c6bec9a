// What the HTTP frontend needs of the node behind it.

import type { Awaitable, SessionHooks } from '../../hooks/hooks.ts'
import type { PeerStatus } from '../../replication/peers/presence.ts'
import type { ReplicationStats } from '../../replication/stats.ts'
import type { SyncStatus } from '../../replication/sync/synchronizer.ts'
import type { CacheLimits } from '../../store/limits.ts'
import type { RefusedSession } from '../../store/refusals.ts'
import type { CacheStats, RefusalReason } from '../../store/stats.ts'

export interface HttpCache {
  readonly limits: CacheLimits
  readonly singleUse: boolean
  readonly stats: CacheStats
  readonly hooks: SessionHooks
  /** Counts and logs a put that was refused before it came to the hooks. */
  refuse(reason: RefusalReason, refused: RefusedSession): void
}

export interface Readiness {
  /** Whether the node serves. It does so without its peers too, since a restart would not bring them back. */
  readonly isReady: boolean
  /** Whether the node serves and, if replication is configured, replicates now. */
  readonly isStrictlyReady: boolean
  /** Says why in one sentence that names the peers heard now and those that are silent. */
  readonly reason: string
}

export interface HttpBackend {
  readonly nodeName: string
  /** Caches by name; a repeater has none. */
  readonly caches: ReadonlyMap<string, HttpCache>
  readiness(): Readiness
  peers(): readonly PeerStatus[]
  /** Synchronization with peers; undefined for a repeater, and when no replication is configured. */
  syncStatus(): SyncStatus | undefined
  /** Counters of replication; undefined for a repeater, and when no replication is configured. */
  replicationStats(): ReplicationStats | undefined
  /** Returns all metrics in the Prometheus text format. */
  metrics(): Awaitable<{ readonly contentType: string; readonly text: string }>
}
