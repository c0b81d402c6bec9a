// Sets up replication by the configuration: the transport, the keys, and the store for each received change.

import type { Clock } from '../base/clock.ts'
import { TlscachedError } from '../base/errors.ts'
import { type Logger, LogLimiter } from '../base/logger.ts'
import type { RandomSource } from '../base/random.ts'
import { toListenError } from '../frontends/frontend.ts'
import { Replicator } from '../replication/replicator.ts'
import { UdpTransport } from '../replication/udp-transport.ts'
import type { Change } from '../store/change.ts'
import type { SessionStore } from '../store/session-store.ts'
import type { ApplyResult } from '../store/stats.ts'
import type { Identity } from '../wire/identity.ts'
import type { Keyring } from '../wire/keyring.ts'
import type { ReplicationConfig } from './config.ts'
import { keyringOf } from './keys.ts'
import { KeysFileWatch } from './keys-file-watch.ts'
import { NodeSync } from './node-sync.ts'

export interface NodeReplicationOptions {
  readonly config: ReplicationConfig
  readonly identity: Identity
  readonly stores: ReadonlyMap<string, SessionStore>
  readonly clock: Clock
  readonly random: RandomSource
  readonly logger: Logger
}

export class NodeReplication {
  readonly transport: UdpTransport
  readonly replicator: Replicator
  readonly sync: NodeSync
  /** Number of received changes for a cache that is not configured here. */
  unknownCaches = 0
  readonly #options: NodeReplicationOptions
  readonly #unknownCacheLog: LogLimiter
  readonly #keysFileWatch: KeysFileWatch
  #config: ReplicationConfig
  #keyring: Keyring

  /** Throws ERR_NO_KEYS, ERR_KEYRING or ERR_INSECURE. */
  constructor(options: NodeReplicationOptions) {
    const { config, identity, stores, clock, random, logger } = options
    this.#options = options
    this.#config = config
    this.#keyring = keyringOf(config)
    this.#unknownCacheLog = new LogLimiter(clock)
    this.#keysFileWatch = new KeysFileWatch({
      clock,
      logger,
      onKeyring: (keyring) => this.#takeKeyring(keyring),
    })
    this.transport = new UdpTransport({
      listen: config.listen,
      networkInterface: config.interface,
      multicastHops: config.multicastTtl,
      clock,
      logger,
    })
    this.sync = new NodeSync({
      listen: config.listen,
      digestIntervalMs: config.digestIntervalMs,
      stores,
      keyring: () => this.#keyring,
      senders: () => this.replicator.verifiedSenders(),
      joinState: () => this.replicator.joinState(),
      clock,
      random,
      logger,
    })
    const { synchronizer } = this.sync
    this.replicator = new Replicator({
      transport: this.transport,
      identity,
      keyring: this.#keyring,
      peers: config.peers,
      repeaters: config.repeaters,
      maxDatagramBytes: config.maxDatagramBytes,
      minimumVersion: config.minimumVersion,
      caches: [...stores.values()].map(({ limits }) => limits),
      clock,
      random,
      logger,
      apply: (change) => this.#apply(change),
      listenSync: (address) => this.sync.listen(address),
      syncOf: (sender) => synchronizer.peerSync(sender.key),
      onVerified: (sender) => synchronizer.greet(sender),
      onReturn: (sender) => synchronizer.greet(sender),
      onAlone: () => synchronizer.lose(),
      onUnrepairable: (sender) => synchronizer.requestSync(sender),
    })
  }

  async start(): Promise<void> {
    try {
      await this.replicator.start()
    } catch (error) {
      const cause = error instanceof TlscachedError ? error.cause : error
      throw toListenError(cause, this.#config.listen, 'replication.listen')
    }
    this.sync.synchronizer.start()
    this.#watchKeysFile()
    if (!this.isEncrypted) {
      this.#options.logger.warn({}, 'replication: no keys, sessions are sent in clear')
    }
  }

  async stop(): Promise<void> {
    this.#keysFileWatch.stop()
    await Promise.all([this.sync.stop(), this.replicator.stop()])
  }

  get isEncrypted(): boolean {
    return this.#config.keysFile !== undefined || this.#config.keys !== undefined
  }

  /**
   * Uses the keys, peers and repeaters of another configuration. Rejects with ERR_NO_KEYS, ERR_KEYRING or
   * ERR_INSECURE, and then nothing has changed.
   */
  async reload(config: ReplicationConfig): Promise<void> {
    // The sockets stay bound as they are until a restart, whatever the new configuration says.
    const keyring = keyringOf(config, this.#options.config.listen)
    this.#config = config
    this.#keyring = keyring
    this.replicator.setKeyring(keyring)
    this.#watchKeysFile()
    // Repeaters are set first, so that none of them is taken for a peer.
    await Promise.all([
      this.replicator.setRepeaters(config.repeaters),
      this.replicator.setPeers(config.peers),
    ])
  }

  keyAgeSec(): number | undefined {
    const { writtenWallMs } = this.#keyring
    if (writtenWallMs === undefined) return undefined
    return (this.#options.clock.wallMs() - writtenWallMs) / 1000
  }

  #watchKeysFile(): void {
    const { keysFile: path, keysFileMode: mode } = this.#config
    this.#keysFileWatch.watch(path === undefined ? undefined : { path, mode })
  }

  /** Uses the keys that are in the file now. */
  #takeKeyring(keyring: Keyring): void {
    const isSame = keyring.hasSameKeys(this.#keyring)
    this.#keyring = keyring
    if (isSame) return
    this.replicator.setKeyring(keyring)
    this.#options.logger.info({ keys: keyring.size }, 'the file of keys was changed and read again')
  }

  #apply(change: Change): ApplyResult {
    const store = this.#options.stores.get(change.cache)
    if (store !== undefined) return store.apply(change)
    this.unknownCaches += 1
    this.#unknownCacheLog.pass((heldBack) =>
      this.#options.logger.warn(
        { cache: change.cache, heldBack },
        'replication: a peer has a cache that is not configured here',
      ),
    )
    return 'refused'
  }
}
