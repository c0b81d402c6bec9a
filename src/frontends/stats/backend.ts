// What the stats frontend needs of the node behind it.

import type { PeerStatus } from '../../replication/peers/presence.ts'
import type { ReplicationStats } from '../../replication/stats.ts'
import type { SyncStatus } from '../../replication/sync/synchronizer.ts'
import type { CacheStatus } from '../../status/documents.ts'

export interface StatsBackend {
  readonly nodeName: string
  readonly caches: ReadonlyMap<string, CacheStatus>
  readiness(): { readonly isReady: boolean; readonly reason: string }
  peers(): readonly PeerStatus[]
  /** Synchronization with peers; undefined for a repeater, and when no replication is configured. */
  syncStatus(): SyncStatus | undefined
  /** Counters of replication; undefined for a repeater, and when no replication is configured. */
  replicationStats(): ReplicationStats | undefined
}
