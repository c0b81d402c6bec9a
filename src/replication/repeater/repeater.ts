// The repeater: passes on what one subscriber sends to all others, as it was sealed. It decrypts each datagram, because
// nothing else proves that a subscriber sealed it, but does not read the changes in it. It stores nothing.

import { isIP } from 'node:net'
import { formatAddress, type HostAddress } from '../../base/address.ts'
import { zeros } from '../../base/counters.ts'
import { LogLimiter, type World } from '../../base/world.ts'
import { type Header, readHeader } from '../../wire/datagram.ts'
import type { Identity } from '../../wire/identity.ts'
import type { KeySource } from '../../wire/keyring.ts'
import {
  decodeMessage,
  encodeLeave,
  encodeRoster,
  MAX_ROSTER_ADDRESSES,
} from '../../wire/message.ts'
import { Sealer } from '../../wire/seal.ts'
import { StrangerBudget } from '../live/budgets.ts'
import { type Sender, SenderTable } from '../live/senders.ts'
import { type Sending, send } from '../live/sending.ts'
import type { Transport } from '../live/transport.ts'
import { PeerAddresses } from '../peers/addresses.ts'
import { Greeter } from '../peers/greeter.ts'
import { REPEATER_COUNTERS, type RepeaterDropReason, type RepeaterStats } from './stats.ts'

/** Foreign datagrams come by the thousand; one log line a minute is enough. */
const FAULT_LOG_PERIOD_MS = 60_000

export interface RepeaterOptions extends World {
  readonly transport: Transport
  readonly identity: Identity
  readonly keys: KeySource
}

export class Repeater {
  readonly stats: RepeaterStats = zeros(REPEATER_COUNTERS)
  readonly #options: RepeaterOptions
  readonly #subscribers = new Subscribers()
  readonly #senders: SenderTable
  readonly #sending: Sending
  readonly #greeter: Greeter
  readonly #faultLog: LogLimiter
  readonly #strangers: StrangerBudget
  #isStarted = false

  constructor(options: RepeaterOptions) {
    const { transport, identity, keys, clock, random } = options
    this.#options = options
    this.#strangers = new StrangerBudget(clock, keys)
    this.#faultLog = new LogLimiter(options, FAULT_LOG_PERIOD_MS)
    this.#senders = new SenderTable((sender) => this.#end(sender, 'forgotten'))
    this.#sending = {
      sealer: new Sealer(identity, keys),
      transport,
      // A repeater greets nobody by itself: nodes come to it.
      addresses: new PeerAddresses(),
      clock,
      stats: this.stats,
    }
    this.#greeter = new Greeter({
      ...this.#sending,
      nodeName: identity.nodeName,
      syncPort: () => 0,
      random,
      roleTo: () => 'repeater',
      mustProveAddress: true,
      onVerified: (sender, changesSequence) => sender.verify(changesSequence),
      onProven: (sender) => this.#renew(sender),
      onRound: () => this.#round(),
    })
  }

  /** Starts receiving; rejects with the system's error when it cannot bind the address. Idempotent. */
  async start(): Promise<void> {
    if (this.#isStarted) return
    this.#isStarted = true
    try {
      await this.#options.transport.start((datagram, from) => this.#receive(datagram, from))
    } catch (error) {
      this.#isStarted = false
      throw error
    }
    this.#greeter.start()
  }

  /**
   * Sends a leave message to each subscriber, which from then on sends directly to the others, and closes the socket.
   * Idempotent.
   */
  async stop(): Promise<void> {
    this.#isStarted = false
    this.#greeter.stop()
    for (const { sender, address } of this.subscriptions()) {
      this.#send(encodeLeave(sender.bootId), address)
      this.#subscribers.remove(sender)
    }
    await this.#options.transport.stop()
  }

  subscriptions(): Subscription[] {
    return [...this.#subscribers.all()]
  }

  /** Boots of nodes in the sender table; at most MAX_SENDERS. */
  get senderCount(): number {
    return this.#senders.size
  }

  /** Takes one datagram; never throws, whatever it contains. */
  #receive(datagram: Buffer, from: HostAddress): void {
    this.stats.datagramsReceived += 1
    const header = readHeader(datagram)
    const reason = header === undefined ? 'malformed' : this.#authenticate(datagram, header, from)
    if (reason !== undefined) this.stats.dropped[reason] += 1
  }

  #authenticate(
    datagram: Buffer,
    header: Header,
    from: HostAddress,
  ): RepeaterDropReason | undefined {
    const { clock } = this.#options
    const known = this.#senders.get(header)
    const arrived = { datagram, header, from, sender: known }
    // A repeater has no destinations by configuration, so only proven addresses are exempt from throttling.
    const message = this.#strangers.open(arrived, () => false)
    if (typeof message === 'string') {
      if (message === 'unauthenticated') {
        const text = 'repeater: dropped a datagram that no key opens'
        this.#logFault({ from: formatAddress(from) }, text)
      }
      return message
    }
    if (header.channel === 'changes') {
      if (known === undefined || !this.#subscribers.has(known)) return 'unsubscribed'
      if (known.isStale(header.sequence)) return 'stale'
      if (known.changes?.accept(header.sequence) !== 'new') return 'replay'
      known.lastHeardMs = clock.monotonicMs()
      this.#passOn(datagram, known)
      return undefined
    }
    const sender = known ?? this.#senders.add(header, from, clock.monotonicMs())
    if (!sender.acceptControl(header.sequence, from, false)) return 'replay'
    sender.hear(from, clock.monotonicMs())
    return this.#obey(datagram, message, sender, from)
  }

  #obey(
    datagram: Buffer,
    message: Buffer,
    sender: Sender,
    from: HostAddress,
  ): RepeaterDropReason | undefined {
    const decoded = decodeMessage(message, sender.origin)
    switch (decoded?.kind) {
      case undefined:
        return 'malformed'
      case 'greeting': {
        const reason = this.#greeter.receive(decoded, sender, from)
        return reason === 'stale' || reason === 'queue_full' ? reason : undefined
      }
      case 'heartbeat':
        if (!this.#subscribers.has(sender)) return 'unsubscribed'
        this.#passOn(datagram, sender)
        return undefined
      case 'leave':
        if (!decoded.bootId.equals(this.#options.identity.bootId)) return 'stale'
        this.#end(sender, 'left')
        return undefined
      default:
        return 'unexpected'
    }
  }

  #passOn(datagram: Buffer, origin: Sender): void {
    this.stats.datagramsPassed += 1
    for (const { sender, address } of this.#subscribers.all()) {
      if (sender !== origin) send(this.#sending, datagram, address)
    }
  }

  /** Begins or renews the subscription of a node that proved its address, and sends it the rosters. */
  #renew(sender: Sender): void {
    const { provenAddress } = sender
    if (sender.role !== 'subscriber' || provenAddress === undefined) return
    const { clock, logger } = this.#options
    const peer = { peer: sender.nodeName, address: formatAddress(provenAddress) }
    const isNew = !this.#subscribers.has(sender)
    if (!this.#subscribers.renew(sender, provenAddress, clock.monotonicMs())) {
      this.stats.dropped.full += 1
      this.#logFault(peer, 'repeater: no room for another subscriber')
      return
    }
    if (isNew) logger.info(peer, 'repeater: node subscribed')
    for (const roster of this.#subscribers.rostersFor(sender)) {
      this.#send(encodeRoster(roster), provenAddress)
    }
  }

  #end(sender: Sender, reason: 'left' | 'silent' | 'forgotten'): void {
    if (!this.#subscribers.remove(sender)) return
    this.#options.logger.info({ peer: sender.nodeName, reason }, 'repeater: node is gone')
  }

  #send(message: Buffer, to: HostAddress): void {
    send(this.#sending, this.#sending.sealer.seal('control', message), to)
  }

  #round(): void {
    const nowMs = this.#options.clock.monotonicMs()
    this.#senders.sweep(nowMs)
    for (const sender of this.#subscribers.expired(nowMs)) this.#end(sender, 'silent')
  }

  #logFault(fields: Record<string, unknown>, message: string): void {
    this.#faultLog.warn(() => fields, message)
  }
}

// The subscribers of a repeater: nodes that prove again and again where they are. At most MAX_SUBSCRIBERS, and at most
// one per address.

/**
 * A subscription ends this long after the last proof. Nodes prove their address about once a second, so many proofs in
 * a row may be lost.
 */
export const SUBSCRIPTION_LIFETIME_MS = 10_000
export const MAX_SUBSCRIBERS = 256
/** Bytes of the addresses in one roster: it then fits into the smallest datagram. */
const MAX_ROSTER_BYTES = 480
/** Bytes that the tag and the length of an address take in a roster. */
const ADDRESS_OVERHEAD_BYTES = 2

export interface Subscription {
  readonly sender: Sender
  readonly address: HostAddress
  readonly provenMs: number
}

export class Subscribers {
  readonly #subscriptions = new Map<Sender, Subscription>()

  get count(): number {
    return this.#subscriptions.size
  }

  all(): IterableIterator<Subscription> {
    return this.#subscriptions.values()
  }

  has(sender: Sender): boolean {
    return this.#subscriptions.has(sender)
  }

  /** Begins or renews a subscription; false when MAX_SUBSCRIBERS are there already. */
  renew(sender: Sender, address: HostAddress, nowMs: number): boolean {
    if (!this.has(sender)) {
      // Another subscriber at the same address is an earlier boot of the node, which ended without leaving.
      for (const other of this.all()) {
        if (formatAddress(other.address) === formatAddress(address)) this.remove(other.sender)
      }
      if (this.count >= MAX_SUBSCRIBERS) return false
    }
    this.#subscriptions.set(sender, { sender, address, provenMs: nowMs })
    return true
  }

  /** Ends a subscription; true if there was one. */
  remove(sender: Sender): boolean {
    return this.#subscriptions.delete(sender)
  }

  /** Senders whose last proof is older than SUBSCRIPTION_LIFETIME_MS. */
  expired(nowMs: number): Sender[] {
    return [...this.all()]
      .filter(({ provenMs }) => nowMs - provenMs > SUBSCRIPTION_LIFETIME_MS)
      .map(({ sender }) => sender)
  }

  /** Addresses of all other subscribers, split into rosters; one empty roster when there are none. */
  rostersFor(sender: Sender): HostAddress[][] {
    const rosters: HostAddress[][] = []
    let roster: HostAddress[] = []
    let bytes = 0
    for (const { sender: other, address } of this.all()) {
      // An address with a zone is valid on this machine only.
      if (other === sender || isIP(address.host) === 0 || address.host.includes('%')) continue
      const addressBytes = formatAddress(address).length + ADDRESS_OVERHEAD_BYTES
      if (bytes + addressBytes > MAX_ROSTER_BYTES || roster.length === MAX_ROSTER_ADDRESSES) {
        rosters.push(roster)
        roster = []
        bytes = 0
      }
      roster.push(address)
      bytes += addressBytes
    }
    return [...rosters, roster]
  }
}
