// Where this node sends: addresses of peers, one multicast group, or repeaters; which sender answers at each address,
// and which peers get changes through a repeater.

import { isIP, isIPv4 } from 'node:net'
import { networkInterfaces } from 'node:os'
import { formatAddress, type HostAddress, isLoopback } from '../../base/address.ts'
import type { Sender } from '../live/senders.ts'

/**
 * An address that was silent for this long gets nothing but greetings. Once the kernel no longer believes in a host's
 * link address (Linux: 8 s after its last datagram), it keeps datagrams to that host for seconds in the send buffer,
 * which those to all others need. A peer that comes back asks for what it missed.
 */
export const SILENCE_MS = 7000
/**
 * A repeater sends rosters about once a second. A peer that no roster has named for this long may not get what the
 * repeater passes on, so changes are sent to it directly: at worst they arrive twice.
 */
export const LISTED_LIFETIME_MS = 3500
/** A contact is forgotten when it has neither answered nor been in a roster for this long. */
const CONTACT_LIFETIME_MS = 300_000
/**
 * An address counts as this node's own for this long after a greeting came back. It is greeted every three seconds, so
 * two greetings may be lost.
 */
const CAME_BACK_LIFETIME_MS = 10_000
/** Contacts remembered; further ones are ignored. */
export const MAX_CONTACTS = 1024

/**
 * `peer` and `repeater`: a person configured it. `group`: the multicast group. `contact`: a peer that a roster named,
 * or that greeted this node by itself.
 */
export type AddressKind = 'peer' | 'group' | 'repeater' | 'contact'

export class PeerAddress {
  readonly address: HostAddress
  readonly kind: AddressKind
  /** Sender that answered the last challenge sent there; in a group the last of many. */
  sender: Sender | undefined
  /** Sender ID of the last answer; stays when the sender is forgotten. */
  lastSenderId: Buffer | undefined
  lastAnsweredMs = Number.NEGATIVE_INFINITY
  /** Source address of the last answer. */
  #answeredFrom: HostAddress | undefined
  lastGreetedMs = Number.NEGATIVE_INFINITY
  /** Control sequence number of the last greeting sent there. */
  lastGreetedSequence = 0
  /** When the last greeting sent there came back to this node itself. */
  #cameBackMs = Number.NEGATIVE_INFINITY
  /** When the destinations were first chosen with this address; undefined before. */
  knownSinceMs: number | undefined
  /** When a roster last named this address: the repeater passes everything on to it. */
  lastListedMs = Number.NEGATIVE_INFINITY
  entriesSent = 0

  constructor(address: HostAddress, kind: AddressKind) {
    this.address = address
    this.kind = kind
  }

  /** Notes that a sender answered a challenge sent there, from `from`. */
  answer(sender: Sender, from: HostAddress, nowMs: number): void {
    this.sender = sender
    this.lastSenderId = sender.senderId
    this.#answeredFrom = from
    this.lastAnsweredMs = nowMs
  }

  /** Notes that the last greeting sent there came back to this node. */
  noteCameBack(nowMs: number): void {
    this.#cameBackMs = nowMs
  }

  /**
   * Whether the address leads to this node itself, like its public address behind a NAT: greetings come back and nobody
   * answers. It is still greeted, so that an answer corrects this when somebody else sent a greeting back.
   */
  isOwn(nowMs: number): boolean {
    const isFresh = nowMs - this.#cameBackMs <= CAME_BACK_LIFETIME_MS
    return (
      isFresh && this.lastAnsweredMs < this.#cameBackMs && this.activeSender(nowMs) === undefined
    )
  }

  /** The sender that is there now: it answered within SILENCE_MS, or was heard from where it answered. */
  activeSender(nowMs: number): Sender | undefined {
    return nowMs - this.#lastSignMs <= SILENCE_MS ? this.sender : undefined
  }

  /** True when nobody is there and there was time to answer. */
  isSilent(nowMs: number): boolean {
    return nowMs - Math.max(this.knownSinceMs ?? nowMs, this.#lastSignMs) > SILENCE_MS
  }

  /**
   * Time of the last answer or, if later, of the last datagram from where it came: on a lossy path answers are rare,
   * because each needs two datagrams to arrive.
   */
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
  /** All addresses, by their text. */
  #byText = new Map<string, PeerAddress>()
  #all: readonly PeerAddress[] = []
  #destinations: readonly PeerAddress[] = []
  #behindRepeaters: readonly PeerAddress[] = []
  /** Texts of the configured and the proven addresses of repeaters. */
  #repeaters = new Set<string>()

  /** All addresses; several may lead to the same node. */
  get all(): readonly PeerAddress[] {
    return this.#all
  }

  /**
   * Destinations of changes: the group, one address per node, configured addresses where nobody has answered yet, and
   * repeaters instead of the nodes behind them.
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

  /** The kind of an address; undefined when this node does not send there. */
  kindOf(address: HostAddress): AddressKind | undefined {
    if (this.isRepeater(address)) return 'repeater'
    return this.#byText.get(formatAddress(address))?.kind
  }

  /**
   * Whether a second copy from there is normal: several repeaters pass it on, or a repeater and the sender itself send
   * it.
   */
  mayComeTwice(from: HostAddress): boolean {
    return this.hasRepeaters && this.kindOf(from) !== undefined
  }

  /** Whether it is an address of a repeater: a datagram from there was passed on, or is the repeater's own. */
  isRepeater(address: HostAddress): boolean {
    return this.#repeaters.size > 0 && this.#repeaters.has(formatAddress(address))
  }

  /** Replaces the peers and the group; addresses that stay keep their state. */
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

  /**
   * Takes a roster: a repeater passes everything on to these addresses. Unknown ones are added while there are fewer
   * than MAX_CONTACTS.
   */
  list(addresses: readonly HostAddress[], nowMs: number): void {
    for (const address of addresses) {
      const peer = this.#contact(address)
      if (peer !== undefined) peer.lastListedMs = nowMs
    }
    this.refresh(nowMs)
  }

  /** Adds the address where a node proved to be, although no list or roster names it. */
  meet(sender: Sender, address: HostAddress, nowMs: number): void {
    this.#contact(address)?.answer(sender, address, nowMs)
    this.refresh(nowMs)
  }

  /** Notes that a repeater ends: changes go to all peers directly, until a roster of another one names them. */
  unlist(nowMs: number): void {
    for (const peer of this.#all) {
      if (peer.isListed(nowMs)) peer.lastListedMs = nowMs - LISTED_LIFETIME_MS - 1
    }
    this.refresh(nowMs)
  }

  /**
   * Chooses the destinations anew and forgets old contacts; called after each answer and roster, and about once a
   * second.
   */
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
      // Only somebody else named a contact so far, so it gets no changes until it answers.
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

  /** Removes a forgotten sender from its addresses. */
  forget(sender: Sender): void {
    for (const peer of this.#all) {
      if (peer.sender === sender) peer.sender = undefined
    }
  }

  /** The entry of an address, added as a contact when it is new; undefined when there is no room for it. */
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
   * Replaces all addresses of these kinds by `next`, which come first. An entry of the same address and kind keeps its
   * state; one of another kind is replaced, but a repeater is never replaced by a peer.
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

/** Texts of the address and of the proven one: a repeater with several addresses may answer from another one. */
function textsOf({ address, sender }: PeerAddress): string[] {
  const { provenAddress } = sender ?? {}
  const own = formatAddress(address)
  return provenAddress === undefined ? [own] : [own, formatAddress(provenAddress)]
}

// Addresses that this node does not send to: its own, and those of an IP version that its socket does not have.

/** Returns the literal addresses of all network interfaces of this machine. */
export type InterfaceAddresses = () => readonly string[]

/**
 * Makes a function that asks the system. When the system call fails, which needs a file descriptor, the function
 * returns the addresses that it returned last.
 */
export function systemInterfaceAddresses(): InterfaceAddresses {
  let lastKnown: readonly string[] = []
  return () => {
    try {
      const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? [])
      lastKnown = all.map(({ address }) => address)
    } catch {
      return lastKnown
    }
    return lastKnown
  }
}

/**
 * Whether an address leads to this node, which receives at `bound`; a wildcard there stands for all addresses of the
 * machine.
 */
export function isOwnAddress(
  address: HostAddress,
  bound: HostAddress,
  interfaceAddresses: InterfaceAddresses,
): boolean {
  if (address.port !== bound.port) return false
  if (address.host === bound.host) return true
  if (bound.host !== '::' && bound.host !== '0.0.0.0') return false
  return isLoopback(address) || interfaceAddresses().includes(address.host)
}

/**
 * Whether a socket bound to `bound` can send to the address: on `::` it reaches both IP versions. A name in `bound` is
 * not judged.
 */
export function isReachable(address: HostAddress, bound: HostAddress): boolean {
  return (
    bound.host === '::' || isIPv4(address.host) === isIPv4(bound.host) || isIP(bound.host) === 0
  )
}
