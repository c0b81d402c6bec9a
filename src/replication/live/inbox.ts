// The way of an incoming datagram: header, decryption, replay window, message, and then the store, the greeter or the
// repairs. A datagram that fails at any step is counted by reason and dropped.

import { formatAddress, type HostAddress } from '../../base/address.ts'
import { type Clock, type Logger, LogLimiter } from '../../base/world.ts'
import type { ApplyResult } from '../../store/stats.ts'
import type { Change } from '../../store/versions.ts'
import type { ChangesMessage } from '../../wire/changes.ts'
import { type Header, readHeader } from '../../wire/datagram.ts'
import { bootKeyOf, type Identity } from '../../wire/identity.ts'
import type { KeySource } from '../../wire/keyring.ts'
import {
  decodeMessage,
  type FragmentMessage,
  type Message,
  type PieceMessage,
} from '../../wire/message.ts'
import type { ReplayWindow } from '../../wire/replay-window.ts'
import type { PeerAddresses } from '../peers/addresses.ts'
import { GREETING_DATAGRAM_BYTES, type Greeter } from '../peers/greeter.ts'
import type { RepairAnswerer } from '../repair/answerer.ts'
import type { RepairAsker } from '../repair/asker.ts'
import type { DropReason, ReplicationStats } from '../stats.ts'
import { StrangerBudget } from './budgets.ts'
import { Reassembly } from './reassembly.ts'
import type { Sender, SenderTable } from './senders.ts'

/** Foreign datagrams come by the thousand; one log line a minute is enough. */
const FOREIGN_LOG_PERIOD_MS = 60_000

type ControlMessage = Exclude<Message, { kind: 'changes' | 'fragment' }>

export interface InboxOptions {
  readonly identity: Identity
  readonly keys: KeySource
  readonly senders: SenderTable
  readonly greeter: Greeter
  readonly asker: RepairAsker
  readonly answerer: RepairAnswerer
  readonly addresses: PeerAddresses
  /** Called with a roster: the other subscribers of a repeater that this node subscribed to. */
  readonly onRoster: (subscribers: readonly HostAddress[]) => void
  readonly apply: (change: Change) => ApplyResult
  /** Whether this node receives from a multicast group. */
  readonly isInGroup: boolean
  readonly clock: Clock
  readonly logger: Logger
  readonly stats: ReplicationStats
}

export class Inbox {
  readonly #options: InboxOptions
  readonly #held = new HeldMessages()
  readonly #reassembly: Reassembly
  readonly #pieces: Reassembly
  readonly #foreignLog: LogLimiter
  readonly #versionLog: LogLimiter
  readonly #strangers: StrangerBudget
  readonly #isDestination: (from: HostAddress) => boolean
  readonly #ownKey: string

  constructor(options: InboxOptions) {
    this.#options = options
    this.#strangers = new StrangerBudget(options.clock, options.keys)
    this.#isDestination = (from) => options.addresses.kindOf(from) !== undefined
    this.#ownKey = bootKeyOf(options.identity)
    this.#reassembly = new Reassembly((fragments) => this.#drop('queue_full', fragments))
    this.#pieces = new Reassembly((pieces) => this.#drop('queue_full', pieces), true)
    this.#foreignLog = new LogLimiter(options, FOREIGN_LOG_PERIOD_MS)
    this.#versionLog = new LogLimiter(options, FOREIGN_LOG_PERIOD_MS)
  }

  /** Bytes of messages, fragments and pieces that cannot be applied yet; bounded. */
  get pendingBytes(): number {
    return this.#held.bytes + this.#reassembly.bytes + this.#pieces.bytes
  }

  /** Takes one datagram; never throws, whatever it contains. */
  receive(datagram: Buffer, from: HostAddress): void {
    const { addresses, stats } = this.#options
    const header = readHeader(datagram)
    if (header !== undefined && header.bootKey === this.#ownKey) {
      // A multicast group returns a node's own datagrams to it: that is normal and not counted.
      if (!this.#options.isInGroup) this.#noteOwn(header)
      return
    }
    stats.datagramsReceived += 1
    const reason = header === undefined ? 'malformed' : this.#authenticate(datagram, header, from)
    const isDuplicate = reason === 'replay' && addresses.mayComeTwice(from)
    if (isDuplicate) stats.duplicates += 1
    else if (reason !== undefined) this.#drop(reason)
  }

  /** Applies the held messages of a sender that has just been verified. */
  release(sender: Sender): void {
    const { addresses, stats } = this.#options
    for (const held of this.#held.take(sender)) {
      const reason = this.#admit(sender, held.sequence, held.message)
      // Each repeater passed a copy on, and held messages have not been compared with each other yet.
      if (reason === 'replay' && addresses.hasRepeaters) stats.duplicates += 1
      else if (reason !== undefined) this.#drop(reason)
    }
  }

  /** Drops everything that is kept of a forgotten sender: held messages, which count as stale, fragments and pieces. */
  forget(sender: Sender): void {
    this.#drop('stale', this.#held.take(sender).length)
    this.#reassembly.forget(sender)
    this.#pieces.forget(sender)
  }

  #authenticate(datagram: Buffer, header: Header, from: HostAddress): DropReason | undefined {
    const { senders, clock, greeter, addresses } = this.#options
    const known = senders.get(header)
    const arrived = { datagram, header, from, sender: known }
    const message = this.#strangers.open(arrived, this.#isDestination)
    if (typeof message === 'string') {
      if (message === 'unauthenticated') this.#logForeign(header, from)
      return message
    }
    const { sequence } = header
    const sender = known ?? senders.add(header, from, clock.monotonicMs())
    if (header.channel === 'control') return this.#receiveControl(sender, sequence, message, from)
    if (sender.isVerified) {
      const reason = this.#admit(sender, sequence, message, from)
      sender.prepareFor(header)
      return reason
    }
    this.#drop('queue_full', this.#held.hold({ sender, sequence, message }))
    // A datagram that came through a repeater says nothing about the sender's address; a roster of the repeater does.
    const isDirect = !addresses.isRepeater(from)
    if (isDirect && datagram.length >= GREETING_DATAGRAM_BYTES) greeter.challenge(sender, from)
    return undefined
  }

  #receiveControl(
    sender: Sender,
    sequence: number,
    message: Buffer,
    from: HostAddress,
  ): DropReason | undefined {
    const isKnown = this.#options.addresses.kindOf(from) !== undefined
    if (!sender.acceptControl(sequence, from, isKnown)) return 'replay'
    const decoded = decodeMessage(message, sender.origin)
    if (decoded === undefined || decoded.kind === 'changes' || decoded.kind === 'fragment') {
      return 'malformed'
    }
    sender.hear(from, this.#options.clock.monotonicMs())
    return this.#obey(decoded, sender, from)
  }

  #obey(message: ControlMessage, sender: Sender, from: HostAddress): DropReason | undefined {
    const { identity, greeter, asker, answerer, addresses, clock } = this.#options
    switch (message.kind) {
      case 'greeting': {
        const reason = greeter.receive(message, sender, from)
        if (reason === 'version') this.#logVersion(sender, from)
        this.#expect(sender, message.changesSequence)
        return reason
      }
      case 'heartbeat':
        this.#expect(sender, message.changesSequence)
        return undefined
      case 'piece':
        return this.#join(message, sender, from)
      case 'nack':
        return answerer.receive(message, sender)
      case 'gone':
        asker.receiveGone(sender, message.changesSequence)
        return undefined
      case 'roster':
        if (!this.#isOurRepeater(sender)) return 'stale'
        this.#options.onRoster(message.subscribers)
        return undefined
      case 'leave':
        if (!this.#isOurRepeater(sender) || !message.bootId.equals(identity.bootId)) return 'stale'
        addresses.unlist(clock.monotonicMs())
        return undefined
    }
  }

  /** Adds a piece of a datagram with changes, and takes the datagram as if it had arrived whole when it is complete. */
  #join(piece: PieceMessage, sender: Sender, from: HostAddress): DropReason | undefined {
    const datagram = this.#pieces.add(sender, piece.sequence, piece)
    if (datagram === 'incomplete') return undefined
    if (datagram === 'malformed' || datagram === 'too_large') return datagram
    const header = readHeader(datagram)
    const isOfSender = header?.bootKey === sender.key && header.sequence === piece.sequence
    if (header?.channel !== 'changes' || !isOfSender) return 'malformed'
    const reason = this.#authenticate(datagram, header, from)
    // A replay is normal here: the datagram may have arrived whole or in other pieces meanwhile.
    return reason === 'replay' ? undefined : reason
  }

  /** Whether the sender is a verified repeater that is heard now at an address configured for a repeater. */
  #isOurRepeater(sender: Sender): boolean {
    const { addresses, clock } = this.#options
    const nowMs = clock.monotonicMs()
    const isHeard = addresses.all.some(
      (peer) => peer.kind === 'repeater' && peer.activeSender(nowMs) === sender,
    )
    return isHeard && sender.isVerified && sender.isRepeater
  }

  /**
   * Notes up to which sequence number a verified sender has sent changes, and asks for those missing; ignores other
   * senders.
   */
  #expect(sender: Sender, sequence: number): void {
    const { changes } = sender
    if (changes === undefined || sequence <= changes.highest) return
    const range = { from: changes.highest + 1, to: sequence }
    changes.expect(sequence)
    this.#options.asker.notice(sender, range)
  }

  /**
   * Notes that a datagram with changes arrived; false when it had arrived before. Numbers that it skipped are missing
   * from now on.
   */
  #arrive(sender: Sender, changes: ReplayWindow, sequence: number): boolean {
    const { asker, stats } = this.#options
    const { highest } = changes
    if (changes.accept(sequence) !== 'new') return false
    if (sequence > highest + 1) asker.notice(sender, { from: highest + 1, to: sequence - 1 })
    if (sequence <= highest && sender.gaps.wasAsked(sequence)) {
      sender.repairedCount += 1
      stats.repaired += 1
    }
    return true
  }

  /**
   * Applies a message of a verified sender, once; returns the reason when it is dropped. `from` is undefined for a held
   * message.
   */
  #admit(
    sender: Sender,
    sequence: number,
    message: Buffer,
    from?: HostAddress,
  ): DropReason | undefined {
    if (sender.isStale(sequence)) return 'stale'
    const { changes } = sender
    const isNewest = changes !== undefined && sequence > changes.highest
    if (changes === undefined || !this.#arrive(sender, changes, sequence)) return 'replay'
    if (from !== undefined) sender.hear(from, this.#options.clock.monotonicMs())
    const decoded = decodeMessage(message, sender.origin)
    if (decoded?.kind === 'changes') return this.#apply(sender, decoded, isNewest)
    return decoded?.kind === 'fragment' ? this.#reassemble(sender, sequence, decoded) : 'malformed'
  }

  #reassemble(sender: Sender, sequence: number, fragment: FragmentMessage): DropReason | undefined {
    const whole = this.#reassembly.add(sender, sequence - fragment.index, fragment)
    if (whole === 'incomplete') return undefined
    if (whole === 'malformed' || whole === 'too_large') return whole
    const decoded = decodeMessage(whole, sender.origin)
    return decoded?.kind === 'changes' ? this.#apply(sender, decoded, false) : 'malformed'
  }

  /** Applies changes and measures their lag. `isNewest`: no datagram with a higher sequence number arrived before. */
  #apply(sender: Sender, message: ChangesMessage, isNewest: boolean): undefined {
    const { apply, clock, stats } = this.#options
    for (const change of message.changes) apply(change)
    stats.entriesReceived += message.changes.length
    sender.entriesReceived += message.changes.length
    if (sender.clockDifferenceMs === undefined) return
    const lagMs = Math.max(0, clock.wallMs() + sender.clockDifferenceMs - message.sentWallMs)
    stats.lag.observe(lagMs)
    if (isNewest) sender.noteLag(lagMs, clock.monotonicMs())
  }

  /**
   * Counts a datagram that this boot sent and now received: an address leads back here through a NAT, or somebody
   * replays a recording.
   */
  #noteOwn({ channel, sequence }: Header): void {
    const { addresses, clock } = this.#options
    this.#drop('own')
    if (channel !== 'control') return
    const peer = addresses.all.find(({ lastGreetedSequence }) => lastGreetedSequence === sequence)
    peer?.noteCameBack(clock.monotonicMs())
  }

  #drop(reason: DropReason, datagrams = 1): void {
    this.#options.stats.dropped[reason] += datagrams
  }

  #logVersion({ nodeName, version }: Sender, from: HostAddress): void {
    this.#versionLog.warn(
      () => ({ peer: nodeName, from: formatAddress(from), version }),
      'replication: a peer is older than replication.minimum_version: nothing is taken from it',
    )
  }

  #logForeign(header: Header, from: HostAddress): void {
    const { keys } = this.#options
    this.#foreignLog.warn(
      () => ({ from: formatAddress(from), isKeyKnown: keys.current.has(header.keyId) }),
      'replication: dropped a datagram that no key opens',
    )
  }
}

// Messages with changes that wait until their sender proves that it is alive. The bounds hold for all senders together;
// when one is exceeded, the oldest messages are dropped.

const MAX_MESSAGES = 4096
const MAX_BYTES = 4 * 1024 * 1024

export interface HeldMessage {
  readonly sender: Sender
  readonly sequence: number
  readonly message: Buffer
}

export class HeldMessages {
  #held: HeldMessage[] = []
  #bytes = 0

  get count(): number {
    return this.#held.length
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Keeps a message; returns how many older ones were dropped to make room. */
  hold(held: HeldMessage): number {
    this.#held.push(held)
    this.#bytes += held.message.length
    let dropped = 0
    while (this.#held.length - dropped > MAX_MESSAGES || this.#bytes > MAX_BYTES) {
      this.#bytes -= this.#held[dropped]?.message.length ?? 0
      dropped += 1
    }
    if (dropped > 0) this.#held.splice(0, dropped)
    return dropped
  }

  /** Removes and returns the messages of one sender in the order of arrival. */
  take(sender: Sender): HeldMessage[] {
    const taken = this.#held.filter((held) => held.sender === sender)
    if (taken.length === 0) return taken
    this.#held = this.#held.filter((held) => held.sender !== sender)
    for (const held of taken) this.#bytes -= held.message.length
    return taken
  }
}
