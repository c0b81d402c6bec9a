// What all nodes of a cluster say of themselves, from the view of one of them. A peer is asked only while somebody looks.

import { type Clock, within } from '../base/world.ts'
import type { PeerStatus } from '../replication/peers/presence.ts'
import { namedNodes } from './readiness.ts'
import { decodeSummary, type Summary } from './summary.ts'
import { RATE_NAMES } from './watch.ts'

/** The version of the protocol from which on a node answers with its summary. */
const SUMMARY_VERSION = 3
/** Shortest time between two questions to the same peer. */
const ASK_PERIOD_MS = 5000
/**
 * Shortest time between two questions to any one peer, for each peer that there is: in a large cluster every peer is
 * asked less often.
 */
const ASK_PERIOD_PER_PEER_MS = 500
/** Peers asked at the same time. */
const MAX_ASKED = 8
/** Longest that a look waits for peers; those that are late show what they said before. */
const LOOK_WAIT_MS = 2000
/** Periods after which a peer that is heard, but gives no new summary, is said not to answer. */
const LATE_PERIODS = 3
/** Samples of rates in a change: one more than can end between two of them. */
const CHANGE_SAMPLES = 2

/**
 * What is known of a node. `self`: it is the node that is asked. `told`: it is heard and told its summary. `pending`: it
 * was not asked yet. `older`: its release does not tell one. `no_answer`: it is heard over UDP, but gave no answer over
 * TCP. `silent`: it is not heard; its summary, if there is one, is what it told last.
 */
export type NodeState = 'self' | 'told' | 'pending' | 'older' | 'no_answer' | 'silent'

export interface ClusterNode {
  readonly node: string
  /** Boot ID in hex; null for a node that is gone. */
  readonly boot: string | null
  readonly state: NodeState
  /** Time since the summary was told. */
  readonly age_ms: number | null
  readonly summary: Summary | null
}

export interface ClusterDocument {
  /** The node that is asked. */
  readonly node: string
  readonly nodes: readonly ClusterNode[]
}

/** The view of all nodes, for those who show it. */
export interface Cluster {
  /** Asks every peer that was not asked lately, waits for two seconds at most, and resolves with the whole cluster. */
  look(): Promise<ClusterDocument>
  /**
   * Returns what changed since `sinceMs` on the monotonic clock: every node with its state, but summaries only where a
   * new one was told, and those with their newest samples alone.
   */
  changes(sinceMs: number): ClusterDocument
  /** Asks every peer that was not asked lately; resolves when all have answered or failed. Never rejects. */
  ask(): Promise<void>
}

/** A verified boot of a peer. */
export interface AskablePeer {
  readonly bootId: Buffer
  readonly isRepeater: boolean
  readonly version: number
}

export interface ClusterViewOptions<Peer extends AskablePeer> {
  /** Returns the summary of this node, with its newest `samples` samples of rates. */
  readonly own: (samples?: number) => Summary
  readonly peers: () => readonly PeerStatus[]
  /** Returns the verified boots of peers. */
  readonly senders: () => readonly Peer[]
  /** Resolves with the summary of a peer in JSON; rejects when it does not answer in time. */
  readonly ask: (peer: Peer) => Promise<Buffer>
  readonly clock: Clock
}

interface Told {
  readonly name: string
  readonly summary: Summary
  readonly toldMs: number
}

export class ClusterView<Peer extends AskablePeer> implements Cluster {
  readonly #options: ClusterViewOptions<Peer>
  /** What peers told last, by boot in hex. */
  readonly #told = new Map<string, Told>()
  /** When each boot was asked last. */
  readonly #asked = new Map<string, number>()
  #round: Promise<void> | undefined

  constructor(options: ClusterViewOptions<Peer>) {
    this.#options = options
  }

  async look(): Promise<ClusterDocument> {
    const { clock } = this.#options
    await within(clock, LOOK_WAIT_MS, this.ask())
    const nowMs = clock.monotonicMs()
    return this.#document(nowMs, this.#options.own(), ({ summary }) => summary)
  }

  changes(sinceMs: number): ClusterDocument {
    const nowMs = this.#options.clock.monotonicMs()
    return this.#document(nowMs, this.#options.own(CHANGE_SAMPLES), ({ summary, toldMs }) =>
      toldMs >= sinceMs ? withNewestSamples(summary) : null,
    )
  }

  ask(): Promise<void> {
    this.#round ??= this.#askDue().finally(() => {
      this.#round = undefined
    })
    return this.#round
  }

  async #askDue(): Promise<void> {
    const due = this.#duePeers()
    const askInTurn = async () => {
      for (let peer = due.shift(); peer !== undefined; peer = due.shift()) await this.#askPeer(peer)
    }
    await Promise.all(Array.from({ length: MAX_ASKED }, askInTurn))
  }

  #duePeers(): Peer[] {
    const { senders, clock } = this.#options
    const askable = senders().filter(
      ({ isRepeater, version }) => !isRepeater && version >= SUMMARY_VERSION,
    )
    const present = new Set(askable.map(bootOf))
    for (const boot of this.#asked.keys()) if (!present.has(boot)) this.#asked.delete(boot)
    const latestMs = clock.monotonicMs() - this.#periodMs(askable.length)
    return askable.filter((peer) => (this.#asked.get(bootOf(peer)) ?? latestMs) <= latestMs)
  }

  async #askPeer(peer: Peer): Promise<void> {
    const { ask, clock } = this.#options
    const boot = bootOf(peer)
    this.#asked.set(boot, clock.monotonicMs())
    try {
      const summary = decodeSummary(await ask(peer))
      if (summary === undefined) return
      this.#told.set(boot, { name: summary.node, summary, toldMs: clock.monotonicMs() })
    } catch {
      // The failure is counted where the connection was; the state of the node says that it does not answer.
    }
  }

  #periodMs(peers: number): number {
    return Math.max(ASK_PERIOD_MS, peers * ASK_PERIOD_PER_PEER_MS)
  }

  #document(
    nowMs: number,
    own: Summary,
    summaryOf: (told: Told) => Summary | null,
  ): ClusterDocument {
    const peers = namedNodes(this.#options.peers())
    const heard = peers.filter(({ isUp }) => isUp)
    const heardNames = new Set(heard.map(({ name }) => name))
    // Two boots of a silent node have the same name, which is listed once.
    const silent = [...new Set(peers.map(({ name }) => name))].filter(
      (name) => !heardNames.has(name),
    )
    this.#forget(new Set(heard.map(({ boot = '' }) => boot)), new Set(silent))
    const entry = (node: string, boot: string | null, state: NodeState, told?: Told) => ({
      node,
      boot,
      state,
      age_ms: told === undefined ? null : Math.round(nowMs - told.toldMs),
      summary: told === undefined ? null : summaryOf(told),
    })
    const lateMs = LATE_PERIODS * this.#periodMs(heard.length)
    return {
      node: own.node,
      nodes: [
        { node: own.node, boot: own.boot, state: 'self', age_ms: 0, summary: own },
        ...heard.map(({ name, boot = '' }) => {
          const told = this.#told.get(boot)
          return entry(name, boot, this.#stateOf(boot, told, nowMs - lateMs), told)
        }),
        ...silent.map((name) => entry(name, null, 'silent', this.#lastToldBy(name))),
      ],
    }
  }

  /** The state of a boot that is heard; it is late when it told nothing since `lateMs`. */
  #stateOf(boot: string, told: Told | undefined, lateMs: number): NodeState {
    if (told !== undefined && told.toldMs >= lateMs) return 'told'
    const sender = this.#options.senders().find((one) => bootOf(one) === boot)
    if (sender !== undefined && sender.version < SUMMARY_VERSION) return 'older'
    // While nobody looked, nobody asked: an old summary then says nothing about the peer.
    const askedMs = this.#asked.get(boot)
    return askedMs === undefined || askedMs < lateMs ? 'pending' : 'no_answer'
  }

  #lastToldBy(name: string): Told | undefined {
    const all = [...this.#told.values()].filter((told) => told.name === name)
    return all.sort((one, other) => other.toldMs - one.toldMs)[0]
  }

  /** Forgets what was told by boots that are neither heard nor of a silent node in view. */
  #forget(boots: ReadonlySet<string>, silentNames: ReadonlySet<string>): void {
    for (const [boot, { name }] of this.#told) {
      if (!boots.has(boot) && !silentNames.has(name)) this.#told.delete(boot)
    }
  }
}

function bootOf({ bootId }: AskablePeer): string {
  return bootId.toString('hex')
}

function withNewestSamples(summary: Summary): Summary {
  const rates = { ...summary.rates }
  for (const name of RATE_NAMES) rates[name] = rates[name].slice(-CHANGE_SAMPLES)
  return { ...summary, rates }
}
