// One cache shared with uWSGI nodes, in their own datagrams: plain text from whoever sends it. Every
// change of the cache is sent to them once, but never the one that just came in here; what comes in and is
// stored already changes nothing. So no entry travels in a loop, however nodes are joined.

import { isIPv4 } from 'node:net'
import { formatAddress, type HostAddress, isLoopback } from '../base/address.ts'
import { idPrefix } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { type Logger, LogLimiter } from '../base/logger.ts'
import type { LocalHooks } from '../hooks/session-hooks.ts'
import {
  type InterfaceAddresses,
  isOwnAddress,
  isReachable,
  systemInterfaceAddresses,
} from '../replication/address-filter.ts'
import {
  Discovery,
  type Resolver,
  systemResolver,
  systemServiceResolver,
} from '../replication/discovery.ts'
import type { Transport } from '../replication/transport.ts'
import { isSameBytes } from '../session/context.ts'
import type { Change } from '../store/change.ts'
import {
  type CacheOperation,
  formatDelete,
  formatSet,
  parseCacheDatagram,
} from './cache-datagram.ts'
import { SendQueue } from './send-queue.ts'
import { type CacheUdpDropReason, type CacheUdpStats, createCacheUdpStats } from './stats.ts'

/** What uWSGI sends as a time when it means a lifetime: no session lives longer than a week. */
const MAX_RELATIVE_SEC = 604_800
/** A time further ahead than this is nobody's lifetime. */
const MAX_AHEAD_MS = 366 * 86_400_000
/** Whole seconds on the wire, rounded twice. */
const SAME_EXPIRY_MS = 2000

export interface CacheUdpOptions {
  readonly transport: Transport
  /** Without any, whoever sends is listened to. */
  readonly peers: readonly HostAddress[]
  readonly hooks: Pick<LocalHooks, 'limits' | 'peekAny' | 'putOwn' | 'removeAny' | 'versionOf'>
  readonly clock: Clock
  readonly logger: Logger
  readonly resolver?: Resolver | undefined
  readonly interfaceAddresses?: InterfaceAddresses | undefined
}

export class CacheUdp {
  readonly stats: CacheUdpStats = createCacheUdpStats()
  readonly #options: CacheUdpOptions
  readonly #dropLog: LogLimiter
  readonly #discovery: Discovery
  readonly #queue: SendQueue
  #destinations: readonly HostAddress[] = []
  #listedHosts: ReadonlySet<string> = new Set()
  #isOpen = false
  /** While the store takes over what came in here. */
  #isApplying = false

  constructor(options: CacheUdpOptions) {
    const { transport, clock, logger } = options
    this.#options = options
    this.#dropLog = new LogLimiter(clock)
    this.#discovery = new Discovery({
      peers: options.peers,
      resolver: options.resolver ?? systemResolver,
      serviceResolver: systemServiceResolver,
      isExcluded: (address) => !isReachable(address, transport.address) || this.#isOwn(address),
      clock,
      logger,
      onChange: (addresses) => this.#setDestinations(addresses),
    })
    this.#queue = new SendQueue({
      clock,
      send: (datagram) => this.#send(datagram),
      onDrop: () => this.#drop('queue_full', undefined),
    })
  }

  /** Rejects with ERR_LISTEN. Idempotent, like `stop`. */
  async start(): Promise<void> {
    if (this.#isOpen) return
    const { transport } = this.#options
    this.#isOpen = true
    try {
      await transport.start((datagram, from) => this.#receive(datagram, from))
    } catch (error) {
      this.#isOpen = false
      throw error
    }
    if (transport.group !== undefined) this.#destinations = [transport.group]
    // Names are being resolved while terminators are served.
    void this.#discovery.start()
  }

  async stop(): Promise<void> {
    if (!this.#isOpen) return
    this.#isOpen = false
    this.#discovery.stop()
    this.#queue.flush()
    await this.#options.transport.stop()
  }

  /** Tells a change of this cache, whoever made it, without waiting. */
  publish(change: Change): void {
    if (!this.#isOpen || this.#isApplying || this.#destinations.length === 0) return
    const datagram = this.#format(change)
    if (datagram === undefined) this.#drop('too_large', undefined, change.id)
    else this.#queue.push(datagram)
  }

  #format(change: Change): Buffer | undefined {
    if (change.kind === 'remove') return formatDelete(change.id)
    const expiresAtMs = this.#options.clock.wallMs() + change.ttlMs
    return formatSet(change.id, change.session, Math.round(expiresAtMs / 1000))
  }

  #send(datagram: Buffer): void {
    for (const destination of this.#destinations) {
      if (this.#options.transport.send(datagram, destination)) this.stats.datagramsSent += 1
      else this.#drop('queue_full', destination)
    }
  }

  #receive(datagram: Buffer, from: HostAddress): void {
    // A group gives back what was sent to it.
    if (this.#isOwn(from)) return
    this.stats.datagramsReceived += 1
    const operation = this.#isListed(from) ? parseCacheDatagram(datagram) : 'unlisted'
    if (typeof operation === 'string') {
      this.#drop(operation, from)
      return
    }
    this.#isApplying = true
    try {
      const dropped = operation.kind === 'set' ? this.#set(operation) : this.#delete(operation.key)
      if (dropped !== undefined) this.#drop(dropped, from, operation.key)
    } finally {
      this.#isApplying = false
    }
  }

  #set(operation: CacheOperation & { kind: 'set' }): CacheUdpDropReason | undefined {
    const { hooks } = this.#options
    const { key, value, expiresAtSec } = operation
    const ttlMs = this.#ttlMs(expiresAtSec)
    if (typeof ttlMs === 'string') return ttlMs
    const old = hooks.peekAny(key)
    const longestMs = hooks.limits.timeoutMs
    const isKnown =
      old !== undefined &&
      isSameBytes(old.session, value) &&
      Math.abs(Math.min(ttlMs, longestMs) - old.ttlMs) <= SAME_EXPIRY_MS
    if (isKnown) return 'unchanged'
    const result = hooks.putOwn(key, value, Math.min(ttlMs, longestMs))
    if (result !== 'stored' && result !== 'replaced') return result
    this.stats.stored += 1
    return undefined
  }

  /** The lifetime that is left. */
  #ttlMs(expiresAtSec: number): number | 'relative' | 'expired' | 'expiry' {
    if (expiresAtSec === 0) return Number.POSITIVE_INFINITY
    if (expiresAtSec <= MAX_RELATIVE_SEC) return 'relative'
    const ttlMs = expiresAtSec * 1000 - this.#options.clock.wallMs()
    if (ttlMs <= 0) return 'expired'
    return ttlMs > MAX_AHEAD_MS ? 'expiry' : ttlMs
  }

  #delete(key: Buffer): CacheUdpDropReason | undefined {
    const { hooks } = this.#options
    // Not asked to remove what is not there: that would tell every other node of it, and they us again.
    if (hooks.versionOf(key) === undefined || !hooks.removeAny(key)) return 'unknown'
    this.stats.removed += 1
    return undefined
  }

  #isOwn(from: HostAddress): boolean {
    const { transport, interfaceAddresses } = this.#options
    return isOwnAddress(from, transport.address, interfaceAddresses ?? systemInterfaceAddresses)
  }

  /**
   * uWSGI sends from whatever address and port the kernel chooses. On loopback that is 127.0.0.1 for all
   * nodes: there, every sender is on this machine and counts as listed.
   */
  #isListed(from: HostAddress): boolean {
    const { transport, peers } = this.#options
    if (transport.group !== undefined || peers.length === 0) return true
    if (this.#listedHosts.has(from.host)) return true
    return isIPv4(from.host) && isLoopback(from) && peers.some((peer) => isLoopback(peer))
  }

  #setDestinations(addresses: readonly HostAddress[]): void {
    const { group } = this.#options.transport
    this.#destinations = group === undefined ? addresses : [group]
    this.#listedHosts = new Set(addresses.map(({ host }) => host))
  }

  #drop(reason: CacheUdpDropReason, peer: HostAddress | undefined, key?: Uint8Array): void {
    this.stats.dropped[reason] += 1
    // Everyday events: not worth a line.
    if (reason === 'unchanged' || reason === 'unknown') return
    this.#dropLog.pass((heldBack) => {
      const { limits } = this.#options.hooks
      const address = peer === undefined ? undefined : formatAddress(peer)
      const id = key === undefined ? undefined : idPrefix(key)
      this.#options.logger.warn(
        { cache: limits.name, reason, peer: address, id, heldBack },
        'uwsgi: a datagram went no further',
      )
    })
  }
}
