// Replication of one node: joins the road out (outbox), the road in (inbox), the greetings and the
// addresses of the peers. It knows the store only as a function that applies a change.

import { formatAddress, type HostAddress } from '../base/address.ts'
import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/logger.ts'
import type { RandomSource } from '../base/random.ts'
import type { Change } from '../store/change.ts'
import type { ApplyResult } from '../store/stats.ts'
import { DEFAULT_DATAGRAM_BYTES, MAX_DATAGRAM_BYTES, MIN_DATAGRAM_BYTES } from '../wire/datagram.ts'
import type { Identity } from '../wire/identity.ts'
import type { Keyring } from '../wire/keyring.ts'
import { Sealer } from '../wire/seal.ts'
import {
  type InterfaceAddresses,
  isOwnAddress,
  isReachable,
  systemInterfaceAddresses,
} from './address-filter.ts'
import { Discovery, type Resolver, systemResolver } from './discovery.ts'
import { Greeter } from './greeter.ts'
import { Inbox } from './inbox.ts'
import { Outbox } from './outbox.ts'
import { PeerAddresses } from './peer-addresses.ts'
import { listPeers, type PeerStatus } from './peer-status.ts'
import type { Sender } from './sender.ts'
import { SenderTable } from './sender-table.ts'
import { createReplicationStats, type ReplicationStats } from './stats.ts'
import type { Transport } from './transport.ts'

/** A node that found nobody in this time stops looking at the start and begins alone. */
const JOIN_TIMEOUT_MS = 1000
/** Rounds of greetings after which a gap that is still there counts as lost. */
const ROUNDS_PER_GAP_CHECK = 5

/**
 * `joining`: peers are still being looked for. `joined`: this node and its peers know each other.
 * `alone`: nobody was there, or there is nobody to look for.
 */
export type JoinState = 'joining' | 'joined' | 'alone'

export interface ReplicatorOptions {
  readonly transport: Transport
  readonly identity: Identity
  readonly keyring: Keyring
  readonly peers: readonly HostAddress[]
  /** MIN_DATAGRAM_BYTES..MAX_DATAGRAM_BYTES; default DEFAULT_DATAGRAM_BYTES. */
  readonly maxDatagramBytes?: number | undefined
  readonly clock: Clock
  readonly random: RandomSource
  readonly logger: Logger
  /** Takes over a change of another node; its bytes alias the datagram. */
  readonly apply: (change: Change) => ApplyResult
  readonly resolver?: Resolver | undefined
  readonly interfaceAddresses?: InterfaceAddresses | undefined
}

export class Replicator {
  readonly stats: ReplicationStats = createReplicationStats()
  readonly #options: ReplicatorOptions
  readonly #addresses = new PeerAddresses()
  readonly #senders: SenderTable
  readonly #sealer: Sealer
  readonly #outbox: Outbox
  readonly #greeter: Greeter
  readonly #inbox: Inbox
  readonly #discovery: Discovery
  #startedMs: number | undefined
  #hasJoined = false
  #isNameClashLogged = false
  #rounds = 0

  constructor(options: ReplicatorOptions) {
    const { transport, identity, clock, random, logger } = options
    const maxDatagramBytes = options.maxDatagramBytes ?? DEFAULT_DATAGRAM_BYTES
    if (maxDatagramBytes < MIN_DATAGRAM_BYTES || maxDatagramBytes > MAX_DATAGRAM_BYTES) {
      throw new RangeError(`maxDatagramBytes: ${MIN_DATAGRAM_BYTES}..${MAX_DATAGRAM_BYTES}`)
    }
    this.#options = options
    this.#sealer = new Sealer(identity, options.keyring)
    this.#senders = new SenderTable((sender) => this.#forget(sender))
    const shared = { transport, sealer: this.#sealer, addresses: this.#addresses, clock }
    this.#outbox = new Outbox({
      ...shared,
      origin: identity.origin,
      maxDatagramBytes,
      stats: this.stats,
    })
    this.#greeter = new Greeter({
      ...shared,
      nodeName: identity.nodeName,
      random,
      stats: this.stats,
      onVerified: (sender, changesSequence) => this.#verify(sender, changesSequence),
      onRound: () => this.#round(),
    })
    this.#inbox = new Inbox({
      identity,
      keyring: options.keyring,
      senders: this.#senders,
      greeter: this.#greeter,
      apply: options.apply,
      clock,
      logger,
      stats: this.stats,
    })
    const interfaces = options.interfaceAddresses ?? systemInterfaceAddresses
    this.#discovery = new Discovery({
      peers: options.peers,
      resolver: options.resolver ?? systemResolver,
      isExcluded: (address) =>
        !isReachable(address, transport.address) ||
        isOwnAddress(address, transport.address, interfaces),
      clock,
      logger,
      onChange: (addresses) => this.#setAddresses(addresses),
    })
  }

  /** Resolves when datagrams are received and every peer's name was tried; rejects with ERR_LISTEN. */
  async start(): Promise<void> {
    if (this.#startedMs !== undefined) return
    const { transport, clock } = this.#options
    this.#startedMs = clock.monotonicMs()
    try {
      await transport.start((datagram, from) => this.#inbox.receive(datagram, from))
    } catch (error) {
      this.#startedMs = undefined
      throw error
    }
    this.#greeter.start()
    await this.#discovery.start()
  }

  /** Sends what is gathered and closes everything; idempotent. */
  async stop(): Promise<void> {
    if (this.#startedMs === undefined) return
    this.#startedMs = undefined
    this.#discovery.stop()
    this.#greeter.stop()
    this.#outbox.flush()
    await this.#options.transport.stop()
  }

  /** Sends a change of this node to all peers, without waiting; copies what it needs. */
  publish(change: Change): void {
    if (this.#startedMs !== undefined) this.#outbox.publish(change)
  }

  /** Seals with the first of these keys and opens with all of them from now on. */
  setKeyring(keyring: Keyring): void {
    // What was gathered was published under the old keyring.
    this.#outbox.flush()
    this.#sealer.setKeyring(keyring)
    this.#inbox.setKeyring(keyring)
  }

  /** Replaces the peers; resolves when every name was tried. */
  setPeers(peers: readonly HostAddress[]): Promise<void> {
    return this.#discovery.setPeers(peers)
  }

  peers(): PeerStatus[] {
    return listPeers(this.#addresses, this.#senders, this.#options.clock.monotonicMs())
  }

  joinState(): JoinState {
    if (this.#startedMs === undefined) return 'joining'
    const nowMs = this.#options.clock.monotonicMs()
    const verified = [...this.#senders.values()].filter((sender) => sender.isVerified)
    const isEverybodyThere = this.#addresses.all.every((peer) => {
      const sender = peer.activeSender(nowMs)
      // Mutual: the peer takes our changes only after we answered it.
      return !peer.isGroup && sender?.isVerified === true && Number.isFinite(sender.lastAnsweredMs)
    })
    const isOver = nowMs - this.#startedMs >= JOIN_TIMEOUT_MS
    if (!this.#hasJoined && !isEverybodyThere && !isOver) return 'joining'
    this.#hasJoined = true
    return verified.length > 0 ? 'joined' : 'alone'
  }

  /** Bytes kept of what arrived and cannot be applied yet; bounded. */
  get pendingBytes(): number {
    return this.#inbox.pendingBytes
  }

  /** Boots of other nodes that are remembered; bounded. */
  get senderCount(): number {
    return this.#senders.size
  }

  #setAddresses(addresses: readonly HostAddress[]): void {
    const { transport, clock } = this.#options
    this.#addresses.set(addresses, transport.group, clock.monotonicMs())
    if (this.#startedMs !== undefined) this.#greeter.greetAddresses()
  }

  #verify(sender: Sender, changesSequence: number): void {
    const { identity, logger } = this.#options
    sender.verify(changesSequence)
    const { nodeName, bootId, address } = sender
    logger.info(
      { peer: nodeName, boot: bootId.toString('hex'), address: formatAddress(address) },
      'replication: peer is there',
    )
    if (sender.senderId.equals(identity.senderId) && !this.#isNameClashLogged) {
      this.#isNameClashLogged = true
      logger.warn(
        { name: nodeName, address: formatAddress(address) },
        'replication: another node has the same name; give every node its own',
      )
    }
    this.#inbox.release(sender)
  }

  #forget(sender: Sender): void {
    this.stats.lost += sender.takeLost()
    this.#addresses.forget(sender)
    this.#inbox.forget(sender)
  }

  #round(): void {
    const nowMs = this.#options.clock.monotonicMs()
    this.#rounds += 1
    this.#senders.sweep(nowMs)
    this.#addresses.refresh(nowMs)
    for (const sender of this.#senders.values()) {
      if (this.#rounds % ROUNDS_PER_GAP_CHECK === 0) sender.giveUpOldGaps()
      this.stats.lost += sender.takeLost()
    }
  }
}
