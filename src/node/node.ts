// Builds one node out of stores and hooks, replication, frontends and metrics, which meet only here.

import { hostname } from 'node:os'
import { getHeapStatistics } from 'node:v8'
import type { Registry } from 'prom-client'
import { messageOf, TlscachedError } from '../base/errors.ts'
import { createLogger } from '../base/logger.ts'
import { collectKills, collectLog, collectProcess, createRegistry } from '../base/metrics.ts'
import { checkOptions } from '../base/options.ts'
import { OutputThread } from '../base/output-thread.ts'
import { readVersion } from '../base/version.ts'
import {
  type Clock,
  type LevelledLogger,
  type Logger,
  type RandomSource,
  silentLogger,
  systemClock,
  systemRandom,
} from '../base/world.ts'
import type { HttpBackend, HttpCache } from '../frontends/http/backend.ts'
import { ContextlessHooks } from '../hooks/contextless-hooks.ts'
import type { LocalHooks } from '../hooks/local-hooks.ts'
import type { PeerStatus } from '../replication/peers/presence.ts'
import type { ReplicationStats } from '../replication/stats.ts'
import type { SyncStatus } from '../replication/sync/synchronizer.ts'
import { settingError } from '../settings/errors.ts'
import { NONE } from '../settings/forms.ts'
import type { Cluster } from '../status/cluster.ts'
import { type Readiness, readinessOf } from '../status/readiness.ts'
import type { Summary } from '../status/summary.ts'
import type { ClusterTrace } from '../status/trace.ts'
import { Sweeper } from '../store/expiry.ts'
import { Followed } from '../store/followed.ts'
import { SessionStore } from '../store/session-store.ts'
import { SEED_BYTES } from '../store/sharding.ts'
import { VersionClock } from '../store/versions.ts'
import type { Frontend } from '../streams/listener.ts'
import type { TicketKeySource } from '../tickets/authority.ts'
import { createIdentity } from '../wire/identity.ts'
import { checkConfig, fixedPartsOf, type NodeConfig } from './config.ts'
import type { ConfigInput } from './config-schema.ts'
import { type Machine, systemMachine } from './machine.ts'
import { planMemory } from './memory-plan.ts'
import { collectCaches, collectCacheUdp, collectReplication, collectSweeper } from './metrics.ts'
import { createFrontends, type Listening, listeningOf } from './node-frontends.ts'
import { NodeReplication } from './node-replication.ts'
import { NodeStatus } from './node-status.ts'
import { NodeTickets } from './node-tickets.ts'
import { NodeUwsgi } from './node-uwsgi.ts'

/** What a node gets from the program around it, besides its configuration. */
export interface NodeOptions {
  /** Time, injected by tests; default: the system's. */
  readonly clock?: Clock
  /** Randomness for keys and identifiers, injected by tests; default: the system's. */
  readonly random?: RandomSource
  /** Sockets, names and files of keys, injected by tests; default: those of the machine. */
  readonly machine?: Machine
  /** Receives log lines, fields first and then a message; `console` will do. Without one, a node logs nothing. */
  readonly logger?: Logger
  /** The log whose level callers of a unix rpc socket may change, usually `logger`; default none. */
  readonly log?: LevelledLogger
  /** Whether `/metrics` also has the metrics of the whole process; for one node of a process at most. Default false. */
  readonly hasProcessMetrics?: boolean
  /** Returns how many log lines the process dropped, for `/metrics`. */
  readonly droppedLogLines?: () => number
  /** How often a watchdog killed earlier processes of this service, for `/metrics`. */
  readonly watchdogKills?: number | undefined
}

const OPTION_NAMES: ReadonlySet<string> = new Set<keyof NodeOptions>([
  'clock',
  'random',
  'machine',
  'logger',
  'log',
  'hasProcessMetrics',
  'droppedLogLines',
  'watchdogKills',
])

interface NodeCache extends HttpCache {
  readonly store: SessionStore
  readonly hooks: ContextlessHooks
  readonly isReplicated: boolean
}

/**
 * Makes a node inside this process; `start` opens it. `config` has the keys and forms of the YAML file, but a frontend
 * listens only when its address is set. The node logs to `options.logger`; without one it logs nothing, unless
 * `config.log` is set: then a thread writes its lines to standard error.
 *
 * Throws a ConfigError (ERR_CONFIG) with every mistake, ERR_NO_KEYS when there is no file of keys, ERR_KEYRING when its
 * keys are not usable, ERR_INSECURE when nodes would replicate without keys beyond loopback, and ERR_USAGE for an option
 * that is unknown.
 *
 * ```ts
 * const node = createNode({
 *   caches: [{ name: 'ssl', items: 20_000, timeout: '5m' }],
 *   replication: { listen: '10.0.0.1:7171', peers: ['10.0.0.2:7171'], keys_file: '/etc/tlscached/keys' },
 * })
 * await node.start()
 * const hooks = node.hooks('ssl')
 * ```
 */
export function createNode(config: ConfigInput = {}, options: NodeOptions = {}): CacheNode {
  checkOptions('createNode', options, OPTION_NAMES)
  const checked = nodeConfig(config)
  if (options.logger !== undefined || config.log === undefined) {
    return new CacheNode(checked, options)
  }
  const output = new OutputThread()
  const logger = createLogger({ ...checked.log, node: checked.nodeName }, output)
  const droppedLogLines = () => output.droppedLines
  const logged = { droppedLogLines, ...options, logger, log: logger }
  return new CacheNode(checked, logged, () => output.stop())
}

/**
 * Checks the configuration of a node inside this process and returns it complete and frozen, for `reload`. A frontend
 * listens only when its address is set. Throws a ConfigError (ERR_CONFIG) with every mistake.
 */
export function nodeConfig(config: ConfigInput = {}): NodeConfig {
  if (typeof config !== 'object' || config === null || Array.isArray(config)) {
    throw settingError('', 'the configuration must be an object with the keys of the file')
  }
  return checkConfig({ ...config, frontends: { http: NONE, ...config.frontends } }, hostname())
}

/** A node of this process: its caches, its replication and its frontends. `createNode` makes one. */
export class CacheNode implements HttpBackend {
  /** Name of this node: `node.name`, or the host name. */
  readonly nodeName: string
  /** The caches by name, in the order of the configuration. For hooks on one, see `hooks`. */
  readonly caches: ReadonlyMap<string, NodeCache>
  /** What all nodes of the cluster say of themselves. */
  readonly cluster: Cluster
  readonly #config: NodeConfig
  readonly #logger: Logger
  readonly #sweeper: Sweeper
  readonly #replication: NodeReplication | undefined
  /** The ticket keys of this node, without secrets; undefined where `tickets` is not configured. */
  readonly tickets: NodeTickets | undefined
  readonly #uwsgi: NodeUwsgi
  readonly #frontends: readonly Frontend[]
  readonly #registry: Registry
  readonly #status: NodeStatus
  readonly #onStopped: () => Promise<void>
  #started: Promise<void> | undefined
  #isListening = false

  /** `onStopped` ends what the node's log needs; `stop` calls it last and waits for it. */
  constructor(
    config: NodeConfig,
    options: NodeOptions = {},
    onStopped: () => Promise<void> = async () => {},
  ) {
    this.#onStopped = onStopped
    const clock = options.clock ?? systemClock
    const random = options.random ?? systemRandom
    const machine = options.machine ?? systemMachine()
    this.#config = config
    this.nodeName = config.nodeName
    this.#logger = options.logger ?? silentLogger
    const logger = this.#logger
    const identity = createIdentity(config.nodeName, random)
    const followed = new Followed(clock)
    const storeOptions = {
      followed,
      clock,
      versions: new VersionClock(clock),
      origin: identity.origin,
      seed: random(SEED_BYTES),
      logger,
    }
    const plan = planMemory(config.caches, {
      heapBytes: getHeapStatistics().heap_size_limit,
      systemBytes: process.constrainedMemory() ?? 0,
    })
    for (const warning of plan.warnings) logger.warn({ maxBytes: plan.maxBytes }, warning)
    this.caches = new Map(
      plan.caches.map(({ limits, singleUse, renew, isReplicated }) => {
        const store = new SessionStore(limits, storeOptions)
        const hooks = new ContextlessHooks(store, { clock, logger, followed, singleUse, renew })
        const { stats } = store
        const refuse: HttpCache['refuse'] = (...refusal) => void store.refuse(...refusal)
        return [limits.name, { limits, stats, store, hooks, refuse, singleUse, isReplicated }]
      }),
    )
    const replicated = [...this.caches].filter(([, { isReplicated }]) => isReplicated)
    const stores = new Map(replicated.map(([name, { store }]) => [name, store]))
    this.#sweeper = new Sweeper(
      [...this.caches.values()].map(({ store }) => store),
      clock,
    )
    const world = { clock, random, logger }
    this.tickets =
      config.tickets &&
      new NodeTickets({ config: config.tickets, nodeId: identity.senderId, world })
    this.#replication =
      config.replication &&
      new NodeReplication({
        config: config.replication,
        identity,
        stores,
        rings: this.tickets?.authority,
        clock,
        random,
        logger,
        machine,
      })
    const replicator = this.#replication?.replicator
    for (const cache of this.caches.values()) {
      cache.store.onChange = (change, origin) => {
        if (origin === 'local' && cache.isReplicated) replicator?.publish(change)
        this.#uwsgi.publish(change)
        if (followed.isActive) followed.noteChange(change, origin)
      }
    }
    const hooks = new Map([...this.caches].map(([name, cache]) => [name, cache.hooks]))
    const { uwsgiListeners: listeners } = config
    this.#uwsgi = new NodeUwsgi({ listeners, hooks, clock, logger, machine })
    this.#registry = this.#createRegistry(options)
    const facts = { identity, followed, clock, tickets: this.tickets }
    this.#status = new NodeStatus(this, facts, this.#replication)
    this.cluster = this.#status.cluster
    this.#frontends = createFrontends({
      config: config.frontends,
      backend: this,
      hooks,
      registry: this.#registry,
      clock,
      logger,
      log: options.log,
      tickets: this.tickets,
    })
  }

  /**
   * Opens replication, then the frontends. Rejects with ERR_LISTEN when it cannot listen on an address, and then
   * nothing listens. Idempotent.
   */
  start(): Promise<void> {
    this.#started ??= this.#start()
    return this.#started
  }

  /** Sends the changes that wait, closes everything, and resolves when nothing is open any more. Idempotent. */
  async stop(): Promise<void> {
    const started = this.#started
    if (started === undefined) return
    this.#started = undefined
    await started.catch(() => {})
    await this.#close()
  }

  /** Returns the hooks on a cache for `attachSessionCache`. Throws ERR_CACHE when there is no cache of this name. */
  hooks(cacheName: string): LocalHooks {
    const cache = this.caches.get(cacheName)
    if (cache === undefined) throw new TlscachedError('ERR_CACHE', `no such cache: "${cacheName}"`)
    return cache.hooks
  }

  /** Returns the ticket keys of a group for `attachTicketKeys`. Throws ERR_GROUP when `tickets.groups` has none such. */
  ticketKeys(group: string): TicketKeySource {
    const source = this.tickets?.authority.source(group)
    if (source === undefined) throw new TlscachedError('ERR_GROUP', `no such group: "${group}"`)
    return source
  }

  /**
   * Makes a ticket key of a group now: as the next one; with `isImmediate` minted as soon as neighbours know it; with
   * `isRevoking` minted at once, all others retired on every node. Throws ERR_GROUP when there is no such group.
   */
  rotateTickets(group: string, options: { isImmediate: boolean; isRevoking: boolean }): void {
    if (this.tickets?.rotate(group, options) === true) return
    throw new TlscachedError('ERR_GROUP', `no such group: "${group}"`)
  }

  /** Resolves when the terminators of `tickets.targets` were given their first keys, or that failed for the first time. */
  async ticketsGiven(): Promise<void> {
    await this.tickets?.given()
  }

  /** Returns what listens now, with the ports that the kernel chose. Empty before the start and after the stop. */
  listening(): readonly Listening[] {
    if (!this.#isListening) return []
    return listeningOf(this.#replication?.transport, this.#uwsgi, this.#frontends)
  }

  /**
   * Returns whether this node serves, whether its replication, if there is any, works too, and the reason in one
   * sentence.
   */
  readiness(): Readiness {
    if (!this.#isListening) {
      return { isReady: false, isStrictlyReady: false, reason: 'not started' }
    }
    const readiness = readinessOf(this.syncStatus(), this.peers())
    const reason = readiness.isReady ? this.tickets?.waitingFor() : undefined
    return reason === undefined ? readiness : { isReady: false, isStrictlyReady: false, reason }
  }

  /** Returns the peers that are known, as `/v1/peers` lists them; empty without replication. */
  peers(): readonly PeerStatus[] {
    return this.#replication?.replicator.peers() ?? []
  }

  /** Returns how far this node is with copying the sessions of its peers; undefined without replication. */
  syncStatus(): SyncStatus | undefined {
    return this.#replication?.sync.synchronizer.status
  }

  /** Returns the counters of replication, which the caller must not change; undefined without replication. */
  replicationStats(): ReplicationStats | undefined {
    return this.#replication?.replicator.stats
  }

  /** Returns what this node says of itself, with its newest `samples` samples of rates; the default is all of an hour. */
  summary(samples?: number): Summary {
    return this.#status.summary(samples)
  }

  /** Resolves with where a session is on all nodes, by its ID or a beginning of it; follows it for `followMs`. */
  trace(id: Buffer, followMs: number): Promise<ClusterTrace> {
    return this.#status.trace(id, followMs)
  }

  /** Resolves with all metrics of this node in the text format of Prometheus. */
  async metrics(): Promise<{ readonly contentType: string; readonly text: string }> {
    return { contentType: this.#registry.contentType, text: await this.#registry.metrics() }
  }

  /**
   * Uses the keys, peers and repeaters of a changed configuration, which `nodeConfig` checked. Everything else needs a
   * restart, and the log says so. Rejects with ERR_NO_KEYS, ERR_KEYRING or ERR_INSECURE, and then nothing has changed.
   */
  async reload(config: NodeConfig): Promise<void> {
    if (this.#replication !== undefined && config.replication !== undefined) {
      await this.#replication.reload(config.replication)
    }
    const needsRestart = fixedPartsOf(config) !== fixedPartsOf(this.#config)
    this.#logger.info({ needsRestart }, 'keys and peers were read again')
  }

  async #start(): Promise<void> {
    try {
      this.tickets?.restore()
      await this.#replication?.start()
      this.tickets?.start(this.#replication === undefined)
      await this.#uwsgi.start()
      for (const frontend of this.#frontends) await frontend.start()
    } catch (error) {
      this.#started = undefined
      await this.#close()
      throw error
    }
    this.#sweeper.start()
    this.#status.start()
    this.#isListening = true
    for (const { name, address } of this.listening()) {
      this.#logger.info({ frontend: name, address }, 'listening')
    }
  }

  async #close(): Promise<void> {
    this.#isListening = false
    this.#sweeper.stop()
    this.#status.stop()
    // Frontends stop first, so that replication still sends the changes that they accept.
    const closed = await Promise.allSettled(this.#frontends.map((frontend) => frontend.stop()))
    const others = [this.#replication?.stop(), this.#uwsgi.stop(), this.tickets?.stop()]
    closed.push(...(await Promise.allSettled(others)))
    for (const outcome of closed) {
      if (outcome.status === 'fulfilled') continue
      this.#logger.warn({ reason: messageOf(outcome.reason) }, 'something did not close')
    }
    await this.#onStopped()
  }

  #createRegistry({ hasProcessMetrics, droppedLogLines, watchdogKills }: NodeOptions): Registry {
    const registry = createRegistry(readVersion())
    if (hasProcessMetrics) collectProcess(registry)
    if (droppedLogLines !== undefined) collectLog(registry, droppedLogLines)
    if (watchdogKills !== undefined) collectKills(registry, watchdogKills)
    collectCaches(registry, [...this.caches.values()])
    collectSweeper(registry, this.#sweeper.durations)
    if (this.#uwsgi.listeners.length > 0) collectCacheUdp(registry, this.#uwsgi.listeners)
    const replication = this.#replication
    this.tickets?.collect(registry, () => replication?.sync.ringExchange?.differing() ?? [])
    if (replication !== undefined) collectReplication(registry, replication)
    return registry
  }
}
