// Shares one cache with uWSGI nodes through their own datagrams, sent no faster than they are received, which are
// neither encrypted nor authenticated. Every change of the cache is sent to the nodes once, except one that was just
// received from a node; a received set of a session that is stored already changes nothing. So no entry travels in a
// loop, however the nodes are connected.

import { isIPv4 } from 'node:net'
import { formatAddress, type HostAddress, isLoopback } from '../base/address.ts'
import { idPrefix } from '../base/bytes.ts'
import { zeros } from '../base/counters.ts'
import { type Clock, type Logger, LogLimiter, type Timer } from '../base/world.ts'
import type { ContextlessHooks } from '../hooks/contextless-hooks.ts'
import { ByteBudget } from '../replication/live/budgets.ts'
import type { Transport } from '../replication/live/transport.ts'
import {
  type InterfaceAddresses,
  isOwnAddress,
  isReachable,
  systemInterfaceAddresses,
} from '../replication/peers/addresses.ts'
import {
  Discovery,
  type Resolver,
  type ServiceResolver,
  systemResolver,
  systemServiceResolver,
} from '../replication/peers/discovery.ts'
import { isSameBytes } from '../session/encoded-session.ts'
import type { Change } from '../store/versions.ts'
import { type CacheOperation, formatDelete, formatSet, parseCacheDatagram } from './datagram.ts'
import { CACHE_UDP_COUNTERS, type CacheUdpDropReason, type CacheUdpStats } from './stats.ts'

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
  readonly hooks: Pick<
    ContextlessHooks,
    'limits' | 'peekAny' | 'putOwn' | 'removeAny' | 'versionOf'
  >
  readonly clock: Clock
  readonly logger: Logger
  readonly resolver?: Resolver | undefined
  readonly serviceResolver?: ServiceResolver | undefined
  readonly interfaceAddresses?: InterfaceAddresses | undefined
}

export class CacheUdp {
  readonly stats: CacheUdpStats = zeros(CACHE_UDP_COUNTERS)
  readonly #options: CacheUdpOptions
  readonly #dropLog: LogLimiter
  readonly #discovery: Discovery
  readonly #queue: SendQueue
  readonly #interfaceAddresses: InterfaceAddresses
  #destinations: readonly HostAddress[] = []
  #listedHosts: ReadonlySet<string> = new Set()
  #isOpen = false
  /** True while a received change is being stored, so that `publish` does not send it back. */
  #isApplying = false

  constructor(options: CacheUdpOptions) {
    const { transport, clock, logger } = options
    this.#options = options
    this.#interfaceAddresses = options.interfaceAddresses ?? systemInterfaceAddresses()
    this.#dropLog = new LogLimiter(options)
    this.#discovery = new Discovery({
      peers: options.peers,
      resolver: options.resolver ?? systemResolver,
      serviceResolver: options.serviceResolver ?? systemServiceResolver,
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

  /** Opens the transport and starts to resolve the peers. Rejects with the system's error. Idempotent, like `stop`. */
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
    return isOwnAddress(from, this.#options.transport.address, this.#interfaceAddresses)
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
    this.#dropLog.warn(() => {
      const { limits } = this.#options.hooks
      const address = peer === undefined ? undefined : formatAddress(peer)
      const id = key === undefined ? undefined : idPrefix(key)
      return { cache: limits.name, reason, peer: address, id }
    }, 'uwsgi: a datagram went no further')
  }
}

// Throttles datagrams to the rate at which uWSGI nodes receive them, because their protocol has no retransmission.
// When nothing is queued and the rate allows it, a datagram is sent at once.

/** uWSGI receives 40,000 datagrams a second without loss, and 99 % of 80,000 (measured). */
const DATAGRAMS_PER_SEC = 40_000
/**
 * Most datagrams sent at once after a pause: uWSGI's receive buffer holds more of the smallest sessions than these.
 */
const BURST = 200
const MAX_QUEUED = 65_536
const MAX_QUEUED_BYTES = 8 * 1024 * 1024

export interface SendQueueOptions {
  readonly clock: Clock
  readonly send: (datagram: Buffer) => void
  /** Called for each datagram, the oldest one, that is dropped because the queue is full. */
  readonly onDrop: () => void
}

export class SendQueue {
  readonly #options: SendQueueOptions
  readonly #budget: ByteBudget
  #queue: Buffer[] = []
  /** Index of the next datagram to send; those before it were sent. */
  #head = 0
  #bytes = 0
  #timer: Timer | undefined

  constructor(options: SendQueueOptions) {
    this.#options = options
    this.#budget = new ByteBudget(options.clock, DATAGRAMS_PER_SEC, BURST)
  }

  get length(): number {
    return this.#queue.length - this.#head
  }

  push(datagram: Buffer): void {
    if (this.length === 0 && this.#budget.take(1)) {
      this.#options.send(datagram)
      return
    }
    this.#queue.push(datagram)
    this.#bytes += datagram.length
    while (this.length > MAX_QUEUED || this.#bytes > MAX_QUEUED_BYTES) {
      this.#shift()
      this.#options.onDrop()
    }
    this.#timer ??= this.#options.clock.after(1, () => this.#drain())
  }

  /** Sends all queued datagrams at once, without throttling. */
  flush(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    for (let next = this.#shift(); next !== undefined; next = this.#shift())
      this.#options.send(next)
  }

  #drain(): void {
    this.#timer = undefined
    while (this.length > 0 && this.#budget.take(1)) {
      const next = this.#shift()
      if (next !== undefined) this.#options.send(next)
    }
    if (this.length > 0) this.#timer = this.#options.clock.after(1, () => this.#drain())
  }

  #shift(): Buffer | undefined {
    const next = this.#queue[this.#head]
    if (next === undefined) return undefined
    this.#head += 1
    this.#bytes -= next.length
    // The array is copied when half of it was sent, so each datagram is moved once on average.
    if (this.#head * 2 >= this.#queue.length) {
      this.#queue = this.#queue.slice(this.#head)
      this.#head = 0
    }
    return next
  }
}
