// What the HTTP frontend needs of the node behind it.

import type { Awaitable, SessionHooks } from '../../hooks/hooks.ts'
import type { PeerStatus } from '../../replication/peer-status.ts'
import type { ReplicationStats } from '../../replication/stats.ts'
import type { SyncStatus } from '../../replication/synchronizer.ts'
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
  /** Whether it serves: also alone, as a restart would bring nobody back. */
  readonly isReady: boolean
  /** Whether it also replicates now, if it is to. */
  readonly isStrictlyReady: boolean
  /** Why, in a sentence that names the peers heard now and those that are silent. */
  readonly reason: string
}

export interface HttpBackend {
  readonly nodeName: string
  /** Empty behind a repeater. */
  readonly caches: ReadonlyMap<string, HttpCache>
  readiness(): Readiness
  peers(): readonly PeerStatus[]
  /** undefined when this node is alone by configuration. */
  syncStatus(): SyncStatus | undefined
  /** undefined when this node is alone by configuration. */
  replicationStats(): ReplicationStats | undefined
  /** In the Prometheus text format. */
  metrics(): Awaitable<{ readonly contentType: string; readonly text: string }>
}
