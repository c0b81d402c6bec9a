// Sets up replication by the configuration: the transport, the keys, the store for each received change, and the copies
// and comparisons over TCP.

import { type HostAddress, isMulticast } from '../base/address.ts'
import { zeros } from '../base/counters.ts'
import { codeOf } from '../base/errors.ts'
import { type Clock, LogLimiter, type World } from '../base/world.ts'
import type { Sender } from '../replication/live/senders.ts'
import type { CountingTransport } from '../replication/live/udp-transport.ts'
import type { NodeSync } from '../replication/node-sync.ts'
import type { PeerSync } from '../replication/peers/presence.ts'
import { type JoinState, Replicator } from '../replication/replicator.ts'
import { askSummary, askTrace, connectSync } from '../replication/sync/client.ts'
import { RingExchange, type RingHolder } from '../replication/sync/ring-exchange.ts'
import { SyncListener, SyncResponder } from '../replication/sync/server.ts'
import { failureOf, SYNC_COUNTERS, SyncError } from '../replication/sync/stats.ts'
import type { FrameStream } from '../replication/sync/stream.ts'
import { Synchronizer } from '../replication/sync/synchronizer.ts'
import type { SyncStreams } from '../replication/sync/tls.ts'
import type { SessionStore } from '../store/session-store.ts'
import type { ApplyResult } from '../store/stats.ts'
import type { Change } from '../store/versions.ts'
import { toListenError } from '../streams/listener.ts'
import type { Identity } from '../wire/identity.ts'
import type { KeySource } from '../wire/keyring.ts'
import type { TraceRequest } from '../wire/sync-message.ts'
import type { ReplicationConfig } from './config.ts'
import { ConfiguredKeys } from './keys.ts'
import type { Machine } from './machine.ts'

export interface NodeReplicationOptions extends World {
  readonly config: ReplicationConfig
  readonly identity: Identity
  readonly stores: ReadonlyMap<string, SessionStore>
  /** The rings of ticket keys of this node; undefined where it has none. */
  readonly rings: RingHolder | undefined
  readonly machine: Machine
}

/** A peer that did not tell its summary within this time is given up. */
const SUMMARY_TIMEOUT_MS = 5000

export class NodeReplication {
  readonly transport: CountingTransport
  readonly replicator: Replicator
  readonly sync: TcpSync
  readonly keys: ConfiguredKeys
  /** Number of received changes for a cache that is not configured here. */
  unknownCaches = 0
  readonly #options: NodeReplicationOptions
  readonly #unknownCacheLog: LogLimiter

  /** Throws ERR_NO_KEYS, ERR_KEYRING or ERR_INSECURE. */
  constructor(options: NodeReplicationOptions) {
    const { config, identity, stores, rings, clock, random, logger, machine } = options
    this.#options = options
    this.keys = new ConfiguredKeys(config, { clock, random, logger }, machine.keysFiles)
    this.#unknownCacheLog = new LogLimiter(options)
    this.transport = machine.openTransport({
      listen: config.listen,
      networkInterface: config.interface,
      multicastHops: config.multicastTtl,
      clock,
      logger,
    })
    this.sync = new TcpSync({
      nodeName: identity.nodeName,
      listen: config.listen,
      digestIntervalMs: config.digestIntervalMs,
      stores,
      rings,
      keys: this.keys,
      senders: () => this.replicator.verifiedSenders(),
      joinState: () => this.replicator.joinState(),
      clock,
      random,
      logger,
      streams: machine.syncStreams,
    })
    this.replicator = new Replicator({
      transport: this.transport,
      identity,
      keys: this.keys,
      peers: config.peers,
      repeaters: config.repeaters,
      maxDatagramBytes: config.maxDatagramBytes,
      minimumVersion: config.minimumVersion,
      caches: [...stores.values()].map(({ limits }) => limits),
      rings: this.sync.ringExchange,
      clock,
      random,
      logger,
      resolver: machine.resolver,
      serviceResolver: machine.serviceResolver,
      interfaceAddresses: machine.interfaceAddresses,
      apply: (change) => this.#apply(change),
      sync: this.sync,
    })
  }

  async start(): Promise<void> {
    try {
      await this.replicator.start()
    } catch (error) {
      throw toListenError(error, this.#options.config.listen, 'replication.listen')
    }
    this.sync.synchronizer.start()
    this.sync.ringExchange?.start()
    this.keys.start()
    if (!this.keys.isEncrypted) {
      this.#options.logger.warn({}, 'replication: no keys, sessions are sent in clear')
    }
  }

  async stop(): Promise<void> {
    this.keys.stop()
    await Promise.all([this.sync.stop(), this.replicator.stop()])
  }

  /**
   * Uses the keys, peers and repeaters of another configuration. Rejects with ERR_NO_KEYS, ERR_KEYRING or
   * ERR_INSECURE, and then nothing has changed.
   */
  async reload(config: ReplicationConfig): Promise<void> {
    this.keys.reload(config)
    // Repeaters are set first, so that none of them is taken for a peer.
    await Promise.all([
      this.replicator.setRepeaters(config.repeaters),
      this.replicator.setPeers(config.peers),
    ])
  }

  #apply(change: Change): ApplyResult {
    const store = this.#options.stores.get(change.cache)
    if (store !== undefined) return store.apply(change)
    this.unknownCaches += 1
    this.#unknownCacheLog.warn(
      () => ({ cache: change.cache }),
      'replication: a peer has a cache that is not configured here',
    )
    return 'refused'
  }
}

// Copies and compares stores with peers over TCP: the listener beside the replication socket, and the calls to peers.

export interface TcpSyncOptions extends World {
  readonly nodeName: string
  /** Address as configured: its port is 0 when the kernel chooses one. */
  readonly listen: HostAddress
  readonly digestIntervalMs: number
  readonly stores: ReadonlyMap<string, SessionStore>
  readonly rings: RingHolder | undefined
  readonly keys: KeySource
  /** Returns the peers that have proved to be alive. */
  readonly senders: () => readonly Sender[]
  readonly joinState: () => JoinState
  readonly streams: SyncStreams
}

export class TcpSync implements NodeSync {
  readonly stats = zeros(SYNC_COUNTERS)
  /** Returns what this node says of itself, for a peer that asks; JSON. */
  summary: () => Buffer = () => Buffer.from('{}')
  /** Resolves with what this node knows of a session, for a peer that asks; JSON. */
  trace: (asked: TraceRequest) => Promise<Buffer> = async () => Buffer.from('{}')
  readonly synchronizer: Synchronizer<Sender>
  /** Undefined for a node without rings. */
  readonly ringExchange: RingExchange<Sender> | undefined
  readonly #listen: HostAddress
  readonly #listener: SyncListener
  readonly #clock: Clock
  readonly #connect: (peer: Sender, signal: AbortSignal) => Promise<FrameStream>
  #abort = new AbortController()

  constructor(options: TcpSyncOptions) {
    const { stores, rings, keys, senders, clock, streams } = options
    this.#listen = options.listen
    this.#clock = clock
    this.#connect = (peer, signal) =>
      connectSync(syncAddressOf(peer), keys.current, clock, signal, streams)
    const shared = {
      ...options,
      stats: this.stats,
      peers: () => senders().filter((sender) => sender.syncPort !== undefined),
      connect: this.#connect,
    }
    this.synchronizer = new Synchronizer(shared)
    this.ringExchange =
      rings && new RingExchange({ ...shared, rings, intervalMs: options.digestIntervalMs })
    const isComplete = () => this.synchronizer.isComplete
    const { stats } = this
    const summary = () => this.summary()
    const trace = (asked: TraceRequest) => this.trace(asked)
    const shown = { summary, trace }
    const responder = new SyncResponder({ stores, rings, ...shown, isComplete, clock, stats })
    this.#listener = new SyncListener({
      ...shared,
      isPeer: (host) => senders().some(({ provenAddress }) => provenAddress?.host === host),
      serve: (stream) => responder.serve(stream),
    })
  }

  /**
   * Listens at the address of the replication socket, or at another port when that one is taken and may differ.
   * Resolves with the port. Rejects with the system's error.
   */
  async listen(address: HostAddress): Promise<number> {
    try {
      await this.#listener.start(address)
    } catch (error) {
      // A UDP port that the kernel chose or that belongs to a multicast group may be taken for TCP. Then the kernel
      // chooses another one, which greetings announce.
      const isChosen = this.#listen.port !== 0 && !isMulticast(this.#listen.host)
      if (isChosen || codeOf(error) !== 'EADDRINUSE') throw error
      await this.#listener.start({ ...address, port: 0 })
    }
    return this.#listener.port
  }

  greet(peer: Sender): void {
    this.synchronizer.greet(peer)
  }

  lose(): void {
    this.synchronizer.lose()
  }

  requestSync(peer: Sender): void {
    this.synchronizer.requestSync(peer)
  }

  statusOf(peer: Sender): PeerSync {
    return this.synchronizer.peerSync(peer.key)
  }

  /** Asks a peer what it says of itself. Rejects with a SyncError, which is counted. */
  askSummary(peer: Sender): Promise<Buffer> {
    return this.#ask(peer, askSummary)
  }

  /** Asks a peer where a session is. Rejects with a SyncError, which is counted. */
  askTrace(peer: Sender, asked: Omit<TraceRequest, 'kind'>): Promise<Buffer> {
    return this.#ask(peer, (stream) => askTrace(stream, asked))
  }

  /** Asks on a connection of its own, so that copies and comparisons do not depend on it. */
  async #ask(peer: Sender, ask: (stream: FrameStream) => Promise<Buffer>): Promise<Buffer> {
    let stream: FrameStream | undefined
    const close = () => stream?.close()
    const timer = this.#clock.after(SUMMARY_TIMEOUT_MS, close)
    const { signal } = this.#abort
    signal.addEventListener('abort', close)
    try {
      stream = await this.#connect(peer, signal)
      const document = await ask(stream)
      stream.end()
      return document
    } catch (error) {
      close()
      if (!signal.aborted) this.stats.failures[failureOf(error)] += 1
      throw error
    } finally {
      timer.cancel()
      signal.removeEventListener('abort', close)
    }
  }

  async stop(): Promise<void> {
    this.#abort.abort()
    this.#abort = new AbortController()
    await Promise.all([this.synchronizer.stop(), this.ringExchange?.stop(), this.#listener.stop()])
  }
}

/**
 * Returns the address that the sender has proved, so that nobody else is called in its name. Throws a SyncError when
 * the sender does not synchronize.
 */
function syncAddressOf(sender: Sender): HostAddress {
  const { provenAddress, syncPort } = sender
  if (provenAddress === undefined || syncPort === undefined) {
    throw new SyncError('broken', 'the peer does not synchronize')
  }
  return { host: provenAddress.host, port: syncPort }
}
