// What a node says of itself: it joins the watch over the counters, the summary, and the summaries of the peers.

import { readVersion } from '../base/version.ts'
import type { Clock } from '../base/world.ts'
import type { PeerStatus } from '../replication/peers/presence.ts'
import type { SyncStatus } from '../replication/sync/synchronizer.ts'
import { type Cluster, ClusterView } from '../status/cluster.ts'
import type { CacheStatus } from '../status/documents.ts'
import type { Readiness } from '../status/readiness.ts'
import { encodeSummary, type Summary, summarize } from '../status/summary.ts'
import { NodeWatch } from '../status/watch.ts'
import type { NodeReplication } from './node-replication.ts'

/** The node that is described. */
export interface DescribedNode {
  readonly nodeName: string
  readonly caches: ReadonlyMap<string, CacheStatus>
  readiness(): Readiness
  peers(): readonly PeerStatus[]
  syncStatus(): SyncStatus | undefined
}

export class NodeStatus {
  readonly cluster: Cluster
  readonly #node: DescribedNode
  readonly #boot: string
  readonly #release = readVersion()
  readonly #watch: NodeWatch

  /** `boot` is the boot ID of the node in hex. `replication` is undefined when none is configured. */
  constructor(
    node: DescribedNode,
    boot: string,
    replication: NodeReplication | undefined,
    clock: Clock,
  ) {
    this.#node = node
    this.#boot = boot
    this.#watch = new NodeWatch(
      {
        caches: [...node.caches].map(([name, { stats }]) => ({ name, stats })),
        replication: replication?.replicator.stats,
        unknownCaches: () => replication?.unknownCaches ?? 0,
      },
      clock,
    )
    const sync = replication?.sync
    this.cluster = new ClusterView({
      own: (samples) => this.summary(samples),
      peers: () => node.peers(),
      senders: () => replication?.replicator.verifiedSenders() ?? [],
      ask: async (peer) => (await sync?.askSummary(peer)) ?? Buffer.alloc(0),
      clock,
    })
    if (sync !== undefined) sync.summary = () => encodeSummary(this.summary())
  }

  start(): void {
    this.#watch.start()
  }

  stop(): void {
    this.#watch.stop()
  }

  /** Returns the summary with the newest `samples` samples of rates; the default is all of an hour. */
  summary(samples?: number): Summary {
    const node = this.#node
    const facts = {
      nodeName: node.nodeName,
      boot: this.#boot,
      release: this.#release,
      readiness: node.readiness(),
      caches: [...node.caches.values()],
      peers: node.peers(),
      sync: node.syncStatus(),
      watch: this.#watch,
    }
    return summarize(facts, samples)
  }
}
