// What the HTTP frontend needs of the node behind it.

import type { Awaitable, SessionHooks } from '../../hooks/hooks.ts'
import type { Cluster } from '../../status/cluster.ts'
import type { CacheStatus, ShownNode } from '../../status/documents.ts'
import type { ClusterTrace } from '../../status/trace.ts'
import type { RefusedSession } from '../../store/refusals.ts'
import type { RefusalReason } from '../../store/stats.ts'
import type { TicketsStatus } from '../../tickets/report.ts'

export interface HttpCache extends CacheStatus {
  readonly hooks: SessionHooks
  /** Counts and logs a put that was refused before it came to the hooks. */
  refuse(reason: RefusalReason, refused: RefusedSession): void
}

export interface HttpBackend extends ShownNode {
  /** Caches by name; a repeater has none. */
  readonly caches: ReadonlyMap<string, HttpCache>
  /** What all nodes of the cluster say of themselves; a repeater has none. */
  readonly cluster?: Cluster
  /** Resolves with where a session is on all nodes, and has them follow it; a repeater cannot. */
  trace?(id: Buffer, followMs: number): Promise<ClusterTrace>
  /** Ticket keys without their secrets; undefined for a repeater, and where none are configured. */
  readonly tickets?: TicketsStatus | undefined
  /** Returns all metrics in the Prometheus text format. */
  metrics(): Awaitable<{ readonly contentType: string; readonly text: string }>
}
