// Where this node sends: the addresses of its peers, one multicast group, or repeaters; who answers there,
// and which peers get what they need through a repeater.

import { formatAddress, type HostAddress } from '../base/address.ts'
import type { Sender } from './sender.ts'

/**
 * Where nobody answered for this long nor was heard, nothing but greetings is sent: once the kernel no longer
 * believes in a host's link address (Linux: 8 s after its last datagram) it keeps what goes there for seconds,
 * in the send buffer that datagrams to all others need. Whoever comes back asks for what it missed.
 */
export const SILENCE_MS = 7000
/**
 * A repeater tells its subscribers about once a second. Who was not told of for this long may not get what
 * it passes on, and is sent to directly: at worst it has something twice.
 */
export const LISTED_LIFETIME_MS = 3500
/** An address that no list has is forgotten when neither it nor a repeater was heard for this long. */
const CONTACT_LIFETIME_MS = 300_000
/** An own address is greeted every three seconds, so it may miss two greetings. */
const CAME_BACK_LIFETIME_MS = 10_000
/** More are left out. */
export const MAX_CONTACTS = 1024

/** `contact`: a peer that a repeater told of, or that came by itself. */
export type AddressKind = 'peer' | 'group' | 'repeater' | 'contact'

export class PeerAddress {
  readonly address: HostAddress
  readonly kind: AddressKind
  /** Who answered the last challenge sent there; in a group the last of many. */
  sender: Sender | undefined
  /** Sender ID of the one that answered last, also when that sender was forgotten since. */
  lastSenderId: Buffer | undefined
  lastAnsweredMs = Number.NEGATIVE_INFINITY
  /** From where it did. */
  #answeredFrom: HostAddress | undefined
  lastGreetedMs = Number.NEGATIVE_INFINITY
  /** Control sequence number of the last greeting that was sent there. */
  lastGreetedSequence = 0
  /** When that greeting last came back to this node itself. */
  #cameBackMs = Number.NEGATIVE_INFINITY
  /** undefined until the destinations are first chosen with it. */
  knownSinceMs: number | undefined
  /** When a repeater last said that it passes everything on to this address. */
  lastListedMs = Number.NEGATIVE_INFINITY
  entriesSent = 0

  constructor(address: HostAddress, kind: AddressKind) {
    this.address = address
    this.kind = kind
  }

  /** A sender answered a challenge sent there. */
  answer(sender: Sender, from: HostAddress, nowMs: number): void {
    this.sender = sender
    this.lastSenderId = sender.senderId
    this.#answeredFrom = from
    this.lastAnsweredMs = nowMs
  }

  /** Notes that what was sent there came back to this node. */
  noteCameBack(nowMs: number): void {
    this.#cameBackMs = nowMs
  }

  /**
   * Whether it leads to this node itself, as its public address behind a NAT does: greetings come back, and nobody
   * answers. Greetings go on, so that an answer ends this, whoever made one come back.
   */
  isOwn(nowMs: number): boolean {
    const isFresh = nowMs - this.#cameBackMs <= CAME_BACK_LIFETIME_MS
    return (
      isFresh && this.lastAnsweredMs < this.#cameBackMs && this.activeSender(nowMs) === undefined
    )
  }

  /** The sender that is there now: it answered lately, or is heard from where it answered. */
  activeSender(nowMs: number): Sender | undefined {
    return nowMs - this.#lastSignMs <= SILENCE_MS ? this.sender : undefined
  }

  /** Nobody is there, and there was time to answer. */
  isSilent(nowMs: number): boolean {
    return nowMs - Math.max(this.knownSinceMs ?? nowMs, this.#lastSignMs) > SILENCE_MS
  }

  /** Where much is lost answers are rare, as each takes two datagrams to arrive, but something is heard. */
  get #lastSignMs(): number {
    const { sender, lastAnsweredMs } = this
    const answeredFrom = this.#answeredFrom
    if (sender === undefined || answeredFrom === undefined) return lastAnsweredMs
    const isHeard = sender.isProvenAt(answeredFrom)
    return isHeard ? Math.max(lastAnsweredMs, sender.lastHeardThereMs) : lastAnsweredMs
  }

  isListed(nowMs: number): boolean {
    return nowMs - this.lastListedMs <= LISTED_LIFETIME_MS
  }
}

export class PeerAddresses {
  /** By address as text. */
  #byText = new Map<string, PeerAddress>()
  #all: readonly PeerAddress[] = []
  #destinations: readonly PeerAddress[] = []
  #behindRepeaters: readonly PeerAddress[] = []
  /** Where repeaters are and answer from. */
  #repeaters = new Set<string>()

  /** Every address, also those that lead to the same node. */
  get all(): readonly PeerAddress[] {
    return this.#all
  }

  /**
   * Where changes go: one address per node, new addresses that nobody answered at yet, and repeaters instead
   * of the nodes behind them.
   */
  get destinations(): readonly PeerAddress[] {
    return this.#destinations
  }

  /** One address per node that gets changes through a repeater. */
  get behindRepeaters(): readonly PeerAddress[] {
    return this.#behindRepeaters
  }

  get hasRepeaters(): boolean {
    return this.#repeaters.size > 0
  }

  /** What is at the address; undefined when this node does not send there. */
  kindOf(address: HostAddress): AddressKind | undefined {
    if (this.isRepeater(address)) return 'repeater'
    return this.#byText.get(formatAddress(address))?.kind
  }

  /** Whether a copy from there is no wonder: of several repeaters, or of one and the sender itself. */
  mayComeTwice(from: HostAddress): boolean {
    return this.hasRepeaters && this.kindOf(from) !== undefined
  }

  /** Whether what comes from there was passed on by a repeater, or is of the repeater itself. */
  isRepeater(address: HostAddress): boolean {
    return this.#repeaters.size > 0 && this.#repeaters.has(formatAddress(address))
  }

  /** Replaces the peers; those that stay keep what is known of them. */
  set(addresses: readonly HostAddress[], group: HostAddress | undefined, nowMs: number): void {
    this.#replace(
      ['peer', 'group'],
      [
        ...(group === undefined ? [] : [new PeerAddress(group, 'group')]),
        ...addresses.map((address) => new PeerAddress(address, 'peer')),
      ],
    )
    this.refresh(nowMs)
  }

  setRepeaters(addresses: readonly HostAddress[], nowMs: number): void {
    this.#replace(
      ['repeater'],
      addresses.map((address) => new PeerAddress(address, 'repeater')),
    )
    this.refresh(nowMs)
  }

  /** A repeater passes everything on to these addresses; unknown ones are added while there is room. */
  list(addresses: readonly HostAddress[], nowMs: number): void {
    for (const address of addresses) {
      const peer = this.#contact(address)
      if (peer !== undefined) peer.lastListedMs = nowMs
    }
    this.refresh(nowMs)
  }

  /** A node proved to be there: it knows of us what nobody told us of it. */
  meet(sender: Sender, address: HostAddress, nowMs: number): void {
    this.#contact(address)?.answer(sender, address, nowMs)
    this.refresh(nowMs)
  }

  /** A repeater ends: what this node sends goes to everybody directly, until another one tells of them. */
  unlist(nowMs: number): void {
    for (const peer of this.#all) {
      if (peer.isListed(nowMs)) peer.lastListedMs = nowMs - LISTED_LIFETIME_MS - 1
    }
    this.refresh(nowMs)
  }

  /** Chooses the destinations anew: after an answer, and as answers and lists grow old. */
  refresh(nowMs: number): void {
    for (const [text, peer] of this.#byText) {
      peer.knownSinceMs ??= nowMs
      const lastKnownMs = Math.max(peer.lastListedMs, peer.lastAnsweredMs)
      const isOld = nowMs - lastKnownMs > CONTACT_LIFETIME_MS
      if (peer.kind === 'contact' && isOld) this.#byText.delete(text)
    }
    this.#all = [...this.#byText.values()]
    const repeaters = this.#all.filter(({ kind }) => kind === 'repeater')
    this.#repeaters = new Set(repeaters.flatMap(textsOf))
    const reached = new Set<Sender>()
    const isNew = (peer: PeerAddress) => {
      const sender = peer.activeSender(nowMs)
      // Others told of a contact: it gets nothing until it answered itself.
      if (sender === undefined) {
        return peer.kind !== 'contact' && !peer.isSilent(nowMs) && !peer.isOwn(nowMs)
      }
      if (reached.has(sender)) return false
      reached.add(sender)
      return true
    }
    this.#behindRepeaters = this.#all.filter((peer) => peer.isListed(nowMs) && isNew(peer))
    this.#destinations = this.#all.filter((peer) => {
      if (peer.kind === 'group') return true
      if (peer.kind === 'repeater') return !peer.isSilent(nowMs)
      return !peer.isListed(nowMs) && isNew(peer)
    })
  }

  /** Lets go of a sender that was forgotten. */
  forget(sender: Sender): void {
    for (const peer of this.#all) {
      if (peer.sender === sender) peer.sender = undefined
    }
  }

  /** What is known of an address; undefined when it is new and there is no room. */
  #contact(address: HostAddress): PeerAddress | undefined {
    const text = formatAddress(address)
    const known = this.#byText.get(text)
    if (known !== undefined) return known
    const contacts = [...this.#byText.values()].filter(({ kind }) => kind === 'contact').length
    if (contacts >= MAX_CONTACTS) return undefined
    const contact = new PeerAddress(address, 'contact')
    this.#byText.set(text, contact)
    return contact
  }

  /**
   * Of these kinds only `next` remain, in front; others of the same address give way to them, but no
   * repeater to a peer.
   */
  #replace(kinds: readonly AddressKind[], next: readonly PeerAddress[]): void {
    const known = this.#byText
    this.#byText = new Map(
      next.map((peer) => {
        const text = formatAddress(peer.address)
        const old = known.get(text)
        const isKept = old?.kind === peer.kind || old?.kind === 'repeater'
        return [text, old !== undefined && isKept ? old : peer]
      }),
    )
    for (const [text, peer] of known) {
      if (!kinds.includes(peer.kind) && !this.#byText.has(text)) this.#byText.set(text, peer)
    }
  }
}

/** A repeater of several addresses may answer from another one than it was asked at. */
function textsOf({ address, sender }: PeerAddress): string[] {
  const { provenAddress } = sender ?? {}
  const own = formatAddress(address)
  return provenAddress === undefined ? [own] : [own, formatAddress(provenAddress)]
}
