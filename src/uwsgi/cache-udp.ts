// Shares one cache with uWSGI nodes through their own datagrams, which are neither encrypted nor authenticated.
// Every change of the cache is sent to the nodes once, except one that was just received from a node; a received
// set of a session that is stored already changes nothing. So no entry travels in a loop, however the nodes are
// connected.

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

/** A received expiry up to this value (a week) is a lifetime and not a time, which uWSGI sends with purge_lru. */
const MAX_RELATIVE_SEC = 604_800
/** An expiry time further ahead than a year is refused as `expiry`. */
const MAX_AHEAD_MS = 366 * 86_400_000
/**
 * Largest difference between two expiry times that count as equal: they travel as whole seconds, rounded by both
 * sides.
 */
const SAME_EXPIRY_MS = 2000

export interface CacheUdpOptions {
  readonly transport: Transport
  /**
   * Nodes that changes are sent to and accepted from. When the list is empty, and in a multicast group, datagrams of
   * every sender are accepted.
   */
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
  /** True while a received change is being stored, so that `publish` does not send it back. */
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

  /** Opens the transport and starts to resolve the peers. Rejects with ERR_LISTEN. Idempotent, like `stop`. */
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
    // Peers are resolved in the background, and the node serves meanwhile.
    void this.#discovery.start()
  }

  async stop(): Promise<void> {
    if (!this.#isOpen) return
    this.#isOpen = false
    this.#discovery.stop()
    this.#queue.flush()
    await this.#options.transport.stop()
  }

  /**
   * Sends a change of this cache to the nodes, without waiting. Does nothing for a change that was just received
   * from one.
   */
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
    // A multicast group also delivers our own datagrams to us.
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

  /** Returns the remaining lifetime in milliseconds (Infinity for no expiry), or why the datagram is dropped. */
  #ttlMs(expiresAtSec: number): number | 'relative' | 'expired' | 'expiry' {
    if (expiresAtSec === 0) return Number.POSITIVE_INFINITY
    if (expiresAtSec <= MAX_RELATIVE_SEC) return 'relative'
    const ttlMs = expiresAtSec * 1000 - this.#options.clock.wallMs()
    if (ttlMs <= 0) return 'expired'
    return ttlMs > MAX_AHEAD_MS ? 'expiry' : ttlMs
  }

  #delete(key: Buffer): CacheUdpDropReason | undefined {
    const { hooks } = this.#options
    // A removal is replicated even when the session is not stored here, and other nodes would then send it to us
    // again.
    if (hooks.versionOf(key) === undefined || !hooks.removeAny(key)) return 'unknown'
    this.stats.removed += 1
    return undefined
  }

  #isOwn(from: HostAddress): boolean {
    const { transport, interfaceAddresses } = this.#options
    return isOwnAddress(from, transport.address, interfaceAddresses ?? systemInterfaceAddresses)
  }

  /**
   * Whether datagrams of this sender are accepted. uWSGI sends from any address and port that the kernel chooses,
   * and on loopback that is 127.0.0.1 for every node. So when a peer is on loopback, every IPv4 loopback sender
   * counts as listed.
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
    // These two are part of normal operation and are not logged.
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
