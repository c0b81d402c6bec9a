// Replication of one node: connects the outbox, the inbox, the greetings and the addresses of the peers. It knows the
// store only as a function that applies a change.

import { formatAddress, type HostAddress } from '../base/address.ts'
import { zeros } from '../base/counters.ts'
import type { World } from '../base/world.ts'
import type { CacheLimits } from '../store/limits.ts'
import type { ApplyResult } from '../store/stats.ts'
import type { Change } from '../store/versions.ts'
import { DEFAULT_DATAGRAM_BYTES, MAX_DATAGRAM_BYTES, MIN_DATAGRAM_BYTES } from '../wire/datagram.ts'
import type { Identity } from '../wire/identity.ts'
import type { KeySource } from '../wire/keyring.ts'
import { Sealer } from '../wire/seal.ts'
import { Inbox } from './live/inbox.ts'
import { Outbox } from './live/outbox.ts'
import { type Sender, SenderTable } from './live/senders.ts'
import type { Transport } from './live/transport.ts'
import type { NodeSync } from './node-sync.ts'
import {
  type InterfaceAddresses,
  isOwnAddress,
  isReachable,
  PeerAddresses,
  systemInterfaceAddresses,
} from './peers/addresses.ts'
import {
  Discovery,
  type PeerSource,
  type Resolver,
  type ServiceResolver,
  systemResolver,
  systemServiceResolver,
} from './peers/discovery.ts'
import { type GreetedRings, Greeter } from './peers/greeter.ts'
import { PeerLimits } from './peers/limits.ts'
import { isHeardAt, listPeers, type PeerStatus, Presence } from './peers/presence.ts'
import { RepairAnswerer } from './repair/answerer.ts'
import { RepairAsker } from './repair/asker.ts'
import { Heartbeat } from './repair/heartbeat.ts'
import { ResendLog } from './repair/resend-log.ts'
import { RepeaterClient } from './repeater/client.ts'
import { REPLICATION_COUNTERS, type ReplicationStats } from './stats.ts'

/** A starting node waits this long for all its peers to answer, and then goes on with those that did, or alone. */
const JOIN_TIMEOUT_MS = 1000

/**
 * `joining`: the node was started a moment ago and waits for its peers, or it is not started. `joined`: this wait is
 * over and at least one peer is heard now. `alone`: the wait is over and no peer is heard.
 */
export type JoinState = 'joining' | 'joined' | 'alone'

export interface ReplicatorOptions extends World {
  readonly transport: Transport
  readonly identity: Identity
  readonly keys: KeySource
  readonly peers: readonly PeerSource[]
  /** Repeaters to subscribe to: they pass on what this node sends, and their rosters say where its peers are. */
  readonly repeaters?: readonly PeerSource[] | undefined
  /** Largest datagram to send, MIN_DATAGRAM_BYTES..MAX_DATAGRAM_BYTES; default DEFAULT_DATAGRAM_BYTES. */
  readonly maxDatagramBytes?: number | undefined
  /** Limits of this node's caches, which its greetings carry to the peers. */
  readonly caches?: readonly CacheLimits[] | undefined
  /** The rings of ticket keys of this node; absent where it has none. */
  readonly rings?: GreetedRings | undefined
  /**
   * Lowest protocol version of a peer: greetings of older nodes are dropped, and nothing is taken from them; default 1.
   */
  readonly minimumVersion?: number | undefined
  /** Applies a change of another node to the store; its byte arrays alias the datagram. */
  readonly apply: (change: Change) => ApplyResult
  /** Copies and compares stores with peers; undefined for a node that only sends and receives changes. */
  readonly sync?: NodeSync | undefined
  /** Bytes of sent datagrams that are kept for retransmission; default DEFAULT_RESEND_LOG_BYTES. */
  readonly resendLogBytes?: number | undefined
  readonly resolver?: Resolver | undefined
  readonly serviceResolver?: ServiceResolver | undefined
  readonly interfaceAddresses?: InterfaceAddresses | undefined
}

export class Replicator {
  readonly stats: ReplicationStats = zeros(REPLICATION_COUNTERS)
  readonly #options: ReplicatorOptions
  readonly #addresses = new PeerAddresses()
  readonly #senders: SenderTable
  readonly #heartbeat: Heartbeat
  readonly #outbox: Outbox
  readonly #greeter: Greeter
  readonly #asker: RepairAsker
  readonly #answerer: RepairAnswerer
  readonly #inbox: Inbox
  readonly #discovery: Discovery
  readonly #repeaters: RepeaterClient
  readonly #presence: Presence
  readonly #interfaceAddresses: InterfaceAddresses
  #startedMs: number | undefined
  #hasJoined = false
  #syncPort = 0
  #isNameClashLogged = false

  constructor(options: ReplicatorOptions) {
    const { transport, identity, clock, random, logger } = options
    const maxDatagramBytes = options.maxDatagramBytes ?? DEFAULT_DATAGRAM_BYTES
    if (maxDatagramBytes < MIN_DATAGRAM_BYTES || maxDatagramBytes > MAX_DATAGRAM_BYTES) {
      throw new RangeError(`maxDatagramBytes: ${MIN_DATAGRAM_BYTES}..${MAX_DATAGRAM_BYTES}`)
    }
    this.#options = options
    this.#interfaceAddresses = options.interfaceAddresses ?? systemInterfaceAddresses()
    const form = (options.minimumVersion ?? 1) >= 2 ? 2 : 1
    const sealer = new Sealer(identity, options.keys, form)
    this.#senders = new SenderTable((sender) => this.#forget(sender))
    const log = new ResendLog(clock, options.keys, options.resendLogBytes)
    const shared = {
      transport,
      sealer,
      addresses: this.#addresses,
      clock,
      stats: this.stats,
    }
    this.#presence = new Presence({ ...shared, logger, sync: options.sync })
    this.#heartbeat = new Heartbeat(shared)
    this.#outbox = new Outbox({
      ...shared,
      log,
      heartbeat: this.#heartbeat,
      origin: identity.origin,
      maxDatagramBytes,
    })
    this.#answerer = new RepairAnswerer({ ...shared, identity, log, logger })
    this.#asker = new RepairAsker({
      ...shared,
      random,
      groupSize: () => this.#senders.size + 1,
      onChecked: (sender) => this.#countLost(sender),
    })
    this.#greeter = new Greeter({
      ...shared,
      nodeName: identity.nodeName,
      syncPort: () => this.#syncPort,
      limits: new PeerLimits(options.caches ?? [], random, logger),
      rings: options.rings,
      minimumVersion: options.minimumVersion ?? 1,
      roleTo: (address) => (this.#addresses.isRepeater(address) ? 'subscriber' : undefined),
      random,
      onVerified: (sender, changesSequence) => this.#verify(sender, changesSequence),
      onProven: (sender, isFirst) => this.#reach(sender, isFirst),
      onRound: () => this.#round(),
    })
    this.#inbox = new Inbox({
      identity,
      keys: options.keys,
      senders: this.#senders,
      greeter: this.#greeter,
      asker: this.#asker,
      answerer: this.#answerer,
      addresses: this.#addresses,
      onRoster: (subscribers) => this.#repeaters.meet(subscribers),
      apply: options.apply,
      isInGroup: transport.group !== undefined,
      clock,
      logger,
      stats: this.stats,
    })
    const discovery = {
      resolver: options.resolver ?? systemResolver,
      serviceResolver: options.serviceResolver ?? systemServiceResolver,
      isExcluded: (address: HostAddress) => this.#isExcluded(address),
      clock,
      logger,
    }
    this.#discovery = new Discovery({
      ...discovery,
      peers: options.peers,
      onChange: (addresses) => this.#setAddresses(addresses),
    })
    this.#repeaters = new RepeaterClient({
      ...shared,
      ...discovery,
      peers: options.repeaters ?? [],
      greeter: this.#greeter,
    })
  }

  /** Resolves as soon as datagrams are received; names may still be unresolved. Rejects with the system's error. */
  async start(): Promise<void> {
    if (this.#startedMs !== undefined) return
    const { transport, clock } = this.#options
    this.#startedMs = clock.monotonicMs()
    try {
      await transport.start((datagram, from) => this.#inbox.receive(datagram, from))
      this.#syncPort = (await this.#options.sync?.listen(transport.address)) ?? 0
    } catch (error) {
      this.#startedMs = undefined
      await transport.stop()
      throw error
    }
    this.#greeter.start()
    void this.#discovery.start()
    void this.#repeaters.start()
  }

  /** Sends the gathered changes and closes everything; idempotent. */
  async stop(): Promise<void> {
    if (this.#startedMs === undefined) return
    this.#startedMs = undefined
    this.#discovery.stop()
    this.#greeter.stop()
    this.#outbox.flush()
    this.#heartbeat.stop()
    this.#repeaters.stop()
    await this.#options.transport.stop()
    // The asker stops last, because a datagram that arrives before the transport has stopped may set its timer again.
    this.#asker.stop()
  }

  /**
   * Sends a change of this node to all peers without waiting, and copies what it keeps; does nothing unless started.
   */
  publish(change: Change): void {
    if (this.#startedMs !== undefined) this.#outbox.publish(change)
  }

  /** Replaces the peers; resolves when all names have been looked up, whether or not they have addresses. */
  setPeers(peers: readonly PeerSource[]): Promise<void> {
    return this.#discovery.setPeers(peers)
  }

  setRepeaters(repeaters: readonly PeerSource[]): Promise<void> {
    return this.#repeaters.setRepeaters(repeaters)
  }

  peers(): PeerStatus[] {
    const { clock, sync } = this.#options
    const sources = { addresses: this.#addresses, senders: this.#senders, presence: this.#presence }
    return listPeers({ ...sources, sync }, clock.monotonicMs())
  }

  /** Boots of other nodes that proved that they are alive and where they are; no repeaters. */
  verifiedSenders(): Sender[] {
    return [...this.#senders.values()].filter((sender) => sender.isReachable && !sender.isRepeater)
  }

  joinState(): JoinState {
    if (this.#startedMs === undefined) return 'joining'
    const nowMs = this.#options.clock.monotonicMs()
    const isHeard = this.verifiedSenders().some((sender) => isHeardAt(sender, nowMs))
    const isEverybodyThere = this.#addresses.all.every((peer) => {
      if (peer.kind === 'group' || (peer.kind === 'repeater' && !this.#repeaters.hasRoster))
        return false
      if (peer.isOwn(nowMs)) return true
      const sender = peer.activeSender(nowMs)
      // The peer must have had an answer of ours, too: it takes our changes only after that.
      return sender?.isReachable === true && Number.isFinite(sender.lastAnsweredMs)
    })
    const isOver = nowMs - this.#startedMs >= JOIN_TIMEOUT_MS
    const isWaiting = this.#discovery.isWaiting || this.#repeaters.isWaiting
    if (!this.#hasJoined && !isOver && (isWaiting || !isEverybodyThere)) return 'joining'
    this.#hasJoined = true
    return isHeard ? 'joined' : 'alone'
  }

  /** Bytes of messages, fragments and pieces that cannot be applied yet; bounded. */
  get pendingBytes(): number {
    return this.#inbox.pendingBytes
  }

  /** Boots of other nodes in the sender table; at most MAX_SENDERS. */
  get senderCount(): number {
    return this.#senders.size
  }

  #setAddresses(addresses: readonly HostAddress[]): void {
    const { transport, clock } = this.#options
    this.#addresses.set(addresses, transport.group, clock.monotonicMs())
    if (this.#startedMs !== undefined) this.#greeter.greetAddresses()
  }

  /** True for an address of this node itself, and for one that the socket cannot send to. */
  #isExcluded(address: HostAddress): boolean {
    const { transport } = this.#options
    return (
      !isReachable(address, transport.address) ||
      isOwnAddress(address, transport.address, this.#interfaceAddresses)
    )
  }

  /** Handles a proof of where a sender is; `isFirst` when it had proved no address before. */
  #reach(sender: Sender, isFirst: boolean): void {
    this.#meet(sender)
    if (!isFirst) return
    this.#repeaters.checkRole(sender)
    if (!sender.isRepeater) this.#options.sync?.greet(sender)
  }

  /**
   * Adds an address that is on no list: its node greeted this one by itself, so it has this node for a peer and gets
   * our changes.
   */
  #meet(sender: Sender): void {
    const { transport, clock } = this.#options
    const { provenAddress, isRepeater } = sender
    // A member of the multicast group receives what is sent to the group.
    if (provenAddress === undefined || isRepeater || transport.group !== undefined) return
    if (this.#addresses.kindOf(provenAddress) !== undefined) return
    this.#addresses.meet(sender, provenAddress, clock.monotonicMs())
  }

  #verify(sender: Sender, changesSequence: number): void {
    const { identity, logger } = this.#options
    sender.verify(changesSequence)
    const { nodeName, bootId, address } = sender
    logger.info(
      { peer: nodeName, boot: bootId.toString('hex'), address: formatAddress(address) },
      sender.isRepeater ? 'replication: repeater is there' : 'replication: peer is there',
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
    this.#asker.forget(sender)
    this.#answerer.forget(sender)
  }

  #countLost(sender: Sender): void {
    const lost = sender.takeLost()
    this.stats.lost += lost
    if (lost > 0) this.#options.sync?.requestSync(sender)
  }

  #round(): void {
    const nowMs = this.#options.clock.monotonicMs()
    this.#senders.sweep(nowMs)
    this.#addresses.refresh(nowMs)
    this.#answerer.sweep(nowMs)
    for (const sender of this.#senders.values()) this.#countLost(sender)
    this.#presence.look(this.#senders.values())
  }
}
