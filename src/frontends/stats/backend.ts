// What the stats frontend needs of the node behind it.

import type { PeerStatus } from '../../replication/peer-status.ts'
import type { ReplicationStats } from '../../replication/stats.ts'
import type { SyncStatus } from '../../replication/synchronizer.ts'
import type { CacheStatus } from '../node-status.ts'

export interface StatsBackend {
  readonly nodeName: string
  readonly caches: ReadonlyMap<string, CacheStatus>
  readiness(): { readonly isReady: boolean; readonly reason: string }
  peers(): readonly PeerStatus[]
  /** undefined when this node is alone by configuration. */
  syncStatus(): SyncStatus | undefined
  /** undefined when this node is alone by configuration. */
  replicationStats(): ReplicationStats | undefined
}
