// Where this node sends: the addresses of its peers or one multicast group, and who answers there.

import { formatAddress, type HostAddress } from '../base/address.ts'
import type { Sender } from './sender.ts'

/**
 * An answer is good for this long: three greetings in a row may be lost. Where none came for longer, nothing
 * but greetings is sent: the kernel keeps datagrams to a host that is not there for seconds, in the send
 * buffer that those to all others need. Whoever comes back asks for what it missed.
 */
const ANSWER_LIFETIME_MS = 10_000

export class PeerAddress {
  readonly address: HostAddress
  readonly isGroup: boolean
  /** Who answered the last challenge sent there; in a group the last of many. */
  sender: Sender | undefined
  lastAnsweredMs = Number.NEGATIVE_INFINITY
  lastGreetedMs = Number.NEGATIVE_INFINITY
  /** undefined until the destinations are first chosen with it. */
  knownSinceMs: number | undefined
  entriesSent = 0

  constructor(address: HostAddress, isGroup: boolean) {
    this.address = address
    this.isGroup = isGroup
  }

  /** The sender that answers there now. */
  activeSender(nowMs: number): Sender | undefined {
    return nowMs - this.lastAnsweredMs <= ANSWER_LIFETIME_MS ? this.sender : undefined
  }

  /** Nobody answers there, and there was time to. */
  isSilent(nowMs: number): boolean {
    const sinceMs = Math.max(this.knownSinceMs ?? nowMs, this.lastAnsweredMs)
    return nowMs - sinceMs > ANSWER_LIFETIME_MS
  }
}

export class PeerAddresses {
  #all: readonly PeerAddress[] = []
  #destinations: readonly PeerAddress[] = []

  /** Every address, also those that lead to the same node. */
  get all(): readonly PeerAddress[] {
    return this.#all
  }

  /** Where changes go: one address per node, and new addresses that nobody answered at yet. */
  get destinations(): readonly PeerAddress[] {
    return this.#destinations
  }

  /** Replaces the addresses; those that stay keep what is known of them. */
  set(addresses: readonly HostAddress[], group: HostAddress | undefined, nowMs: number): void {
    const known = new Map(this.#all.map((peer) => [formatAddress(peer.address), peer]))
    const next = new Map<string, PeerAddress>()
    if (group !== undefined) {
      const key = formatAddress(group)
      next.set(key, known.get(key) ?? new PeerAddress(group, true))
    }
    for (const address of addresses) {
      const key = formatAddress(address)
      next.set(key, known.get(key) ?? new PeerAddress(address, false))
    }
    this.#all = [...next.values()]
    this.refresh(nowMs)
  }

  /** Chooses the destinations anew: after an answer, and as answers grow old. */
  refresh(nowMs: number): void {
    const reached = new Set<Sender>()
    this.#destinations = this.#all.filter((peer) => {
      peer.knownSinceMs ??= nowMs
      if (peer.isGroup) return true
      const sender = peer.activeSender(nowMs)
      if (sender === undefined) return !peer.isSilent(nowMs)
      if (reached.has(sender)) return false
      reached.add(sender)
      return true
    })
  }

  /** Lets go of a sender that was forgotten. */
  forget(sender: Sender): void {
    for (const peer of this.#all) {
      if (peer.sender === sender) peer.sender = undefined
    }
  }
}
