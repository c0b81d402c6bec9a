// Builds a repeater out of transport, keys, HTTP and metrics. It has no caches, because it stores nothing.

import type { Registry } from 'prom-client'
import { type Address, formatAddress, type HostAddress, isMulticast } from '../base/address.ts'
import { TlscachedError } from '../base/errors.ts'
import { collectKills, collectLog, collectProcess, createRegistry } from '../base/metrics.ts'
import { readVersion } from '../base/version.ts'
import {
  type Clock,
  type Logger,
  type RandomSource,
  systemClock,
  systemRandom,
} from '../base/world.ts'
import type { HttpBackend } from '../frontends/http/backend.ts'
import { HttpFrontend } from '../frontends/http/frontend.ts'
import type { CountingTransport } from '../replication/live/udp-transport.ts'
import type { PeerStatus } from '../replication/peers/presence.ts'
import { Repeater } from '../replication/repeater/repeater.ts'
import type { Readiness } from '../status/readiness.ts'
import { toListenError } from '../streams/listener.ts'
import { createIdentity } from '../wire/identity.ts'
import type { KeysFileMode } from '../wire/keyring.ts'
import { ConfiguredKeys } from './keys.ts'
import { type Machine, systemMachine } from './machine.ts'
import { collectFrontends, collectRepeater } from './metrics.ts'
import type { Listening } from './node-frontends.ts'

export interface RepeaterConfig {
  /** Name of the repeater, different from the names of the nodes. */
  readonly name: string
  readonly listen: HostAddress
  readonly keysFile: string | undefined
  readonly keysFileMode?: KeysFileMode
  readonly isInsecure: boolean
  /** Address that serves health, metrics and the list of subscribers; undefined for none. */
  readonly http: Address | undefined
}

export interface RepeaterNodeOptions {
  readonly clock?: Clock
  readonly random?: RandomSource
  readonly logger: Logger
  /** Sockets and files of keys, injected by tests; default: those of the machine. */
  readonly machine?: Machine
  /** Whether `/metrics` also has the metrics of the whole process; for one node of a process at most. */
  readonly hasProcessMetrics?: boolean
  /** Returns how many log lines the process dropped, for `/metrics`. */
  readonly droppedLogLines?: () => number
  /** How often a watchdog killed earlier processes of this service, for `/metrics`. */
  readonly watchdogKills?: number | undefined
}

export class RepeaterNode implements HttpBackend {
  readonly nodeName: string
  readonly caches: HttpBackend['caches'] = new Map()
  readonly #config: RepeaterConfig
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #transport: CountingTransport
  readonly #repeater: Repeater
  readonly #http: HttpFrontend | undefined
  readonly #registry: Registry
  readonly #keys: ConfiguredKeys
  #isListening = false

  /** Throws ERR_ADDRESS for a multicast group, and ERR_NO_KEYS, ERR_KEYRING or ERR_INSECURE. */
  constructor(config: RepeaterConfig, options: RepeaterNodeOptions) {
    const { logger, clock = systemClock, random = systemRandom } = options
    const machine = options.machine ?? systemMachine()
    const { name, listen } = config
    if (isMulticast(listen.host)) {
      const message = 'a repeater listens on an address of its own, not on a multicast group'
      throw new TlscachedError('ERR_ADDRESS', message)
    }
    this.#config = config
    this.#clock = clock
    this.#logger = logger
    this.nodeName = name
    this.#keys = new ConfiguredKeys(config, { clock, random, logger }, machine.keysFiles)
    this.#transport = machine.openTransport({ listen, clock, logger })
    const identity = createIdentity(name, random)
    const transport = this.#transport
    const keys = this.#keys
    this.#repeater = new Repeater({ transport, identity, keys, clock, random, logger })
    const shared = { field: 'http', isInsecure: false, backend: this, clock, logger }
    this.#http = config.http && new HttpFrontend({ listen: config.http, ...shared })
    this.#registry = createRegistry(readVersion())
    if (options.hasProcessMetrics) collectProcess(this.#registry)
    if (this.#http !== undefined) collectFrontends(this.#registry, [this.#http])
    const { droppedLogLines, watchdogKills } = options
    if (droppedLogLines) collectLog(this.#registry, droppedLogLines)
    if (watchdogKills !== undefined) collectKills(this.#registry, watchdogKills)
    collectRepeater(this.#registry, { repeater: this.#repeater, keys })
  }

  /**
   * Starts to listen. Rejects with ERR_LISTEN when it cannot listen on an address, and then nothing listens.
   * Idempotent.
   */
  async start(): Promise<void> {
    try {
      await this.#repeater.start()
    } catch (error) {
      throw toListenError(error, this.#config.listen, 'listen')
    }
    try {
      await this.#http?.start()
    } catch (error) {
      await this.#repeater.stop()
      throw error
    }
    this.#isListening = true
    this.#keys.start()
    if (!this.#keys.isEncrypted) {
      this.#logger.warn({}, 'repeater: no keys, sessions are sent in clear')
    }
  }

  /** Closes everything. Idempotent. */
  async stop(): Promise<void> {
    this.#isListening = false
    this.#keys.stop()
    await Promise.all([this.#http?.stop(), this.#repeater.stop()])
  }

  /** Reads the file of keys again. Throws ERR_NO_KEYS, ERR_KEYRING or ERR_INSECURE, and then nothing has changed. */
  reloadKeys(): void {
    this.#keys.reload(this.#config)
    this.#logger.info({}, 'keys were read again')
  }

  /** Returns what listens now, and where, with the ports that the kernel chose. */
  listening(): readonly Listening[] {
    if (!this.#isListening) return []
    const repeater = { name: 'repeater', address: formatAddress(this.#transport.address) }
    if (this.#http === undefined) return [repeater]
    return [repeater, { name: 'http', address: formatAddress(this.#http.address) }]
  }

  readiness(): Readiness {
    if (!this.#isListening) {
      return { isReady: false, isStrictlyReady: false, reason: 'not started' }
    }
    const { length } = this.#repeater.subscriptions()
    return { isReady: true, isStrictlyReady: length > 0, reason: `${length} subscribers` }
  }

  /** Returns the subscribers, each as a peer. */
  peers(): readonly PeerStatus[] {
    const nowMs = this.#clock.monotonicMs()
    return this.#repeater.subscriptions().map(({ sender, address }) => ({
      role: 'node',
      name: sender.nodeName,
      address: formatAddress(address),
      boot: sender.bootId.toString('hex'),
      isVerified: true,
      isUp: true,
      lastSeenMs: nowMs - sender.lastHeardMs,
      lagMs: undefined,
      clockDifferenceMs: sender.clockDifferenceMs,
      lost: 0,
      repaired: 0,
      entriesSent: 0,
      entriesReceived: 0,
      sync: undefined,
    }))
  }

  syncStatus(): undefined {
    return undefined
  }

  replicationStats(): undefined {
    return undefined
  }

  async metrics(): Promise<{ readonly contentType: string; readonly text: string }> {
    return { contentType: this.#registry.contentType, text: await this.#registry.metrics() }
  }
}
