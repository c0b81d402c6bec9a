// What a node says of itself: it joins the watch over the counters, the summary, and the summaries of the peers.

import { readVersion } from '../base/version.ts'
import type { Clock } from '../base/world.ts'
import type { PeerStatus } from '../replication/peers/presence.ts'
import type { SyncStatus } from '../replication/sync/synchronizer.ts'
import { type Cluster, ClusterView } from '../status/cluster.ts'
import type { CacheStatus } from '../status/documents.ts'
import type { Readiness } from '../status/readiness.ts'
import { encodeSummary, type Summary, summarize } from '../status/summary.ts'
import type { TicketFacts } from '../status/tickets.ts'
import {
  type ClusterTrace,
  encodeTrace,
  type Trace,
  traceEverywhere,
  traceHere,
} from '../status/trace.ts'
import { NodeWatch } from '../status/watch.ts'
import type { Followed } from '../store/followed.ts'
import type { SessionStore } from '../store/session-store.ts'
import type { Identity } from '../wire/identity.ts'
import type { NodeReplication } from './node-replication.ts'
import type { NodeTickets } from './node-tickets.ts'

/** The node that is described. */
export interface DescribedNode {
  readonly nodeName: string
  readonly caches: ReadonlyMap<string, CacheStatus & { readonly store: SessionStore }>
  readiness(): Readiness
  peers(): readonly PeerStatus[]
  syncStatus(): SyncStatus | undefined
}

export interface NodeStatusOptions {
  readonly identity: Identity
  readonly followed: Followed
  readonly clock: Clock
  /** Undefined when the node makes no ticket keys. */
  readonly tickets: NodeTickets | undefined
}

export class NodeStatus {
  readonly cluster: Cluster
  readonly #node: DescribedNode
  readonly #options: NodeStatusOptions
  readonly #replication: NodeReplication | undefined
  readonly #release = readVersion()
  readonly #watch: NodeWatch

  /** `replication` is undefined when none is configured. */
  constructor(
    node: DescribedNode,
    options: NodeStatusOptions,
    replication: NodeReplication | undefined,
  ) {
    const { clock } = options
    this.#node = node
    this.#options = options
    this.#replication = replication
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
    if (sync === undefined) return
    sync.summary = () => encodeSummary(this.summary())
    sync.trace = async ({ id, followMs }) => encodeTrace(await this.#traceHere(id, followMs))
  }

  start(): void {
    this.#watch.start()
  }

  stop(): void {
    this.#watch.stop()
  }

  /** Resolves with where a session is on all nodes, and has each of them follow it for `followMs`. */
  trace(id: Buffer, followMs: number): Promise<ClusterTrace> {
    const { sync, replicator } = this.#replication ?? {}
    return traceEverywhere(
      this.#traceHere(id, followMs),
      replicator?.verifiedSenders() ?? [],
      async (peer) => (await sync?.askTrace(peer, { id, followMs })) ?? Buffer.alloc(0),
      this.#options.clock,
    )
  }

  #traceHere(id: Buffer, followMs: number): Promise<Trace> {
    const { nodeName, caches } = this.#node
    const { identity, followed, clock } = this.#options
    const stores = new Map([...caches].map(([name, { store }]) => [name, store]))
    return traceHere({ nodeName, origin: identity.origin, stores, followed, clock }, id, followMs)
  }

  #tickets(): TicketFacts | undefined {
    const { tickets, clock } = this.#options
    if (tickets === undefined) return undefined
    return { rings: tickets.reports(), targets: tickets.targets(), wallMs: clock.wallMs() }
  }

  /** Returns the summary with the newest `samples` samples of rates; the default is all of an hour. */
  summary(samples?: number): Summary {
    const node = this.#node
    const facts = {
      nodeName: node.nodeName,
      boot: this.#options.identity.bootId.toString('hex'),
      release: this.#release,
      readiness: node.readiness(),
      caches: [...node.caches.values()],
      peers: node.peers(),
      sync: node.syncStatus(),
      watch: this.#watch,
      tickets: this.#tickets(),
    }
    return summarize(facts, samples)
  }
}
