// The subscribers of a repeater: nodes that prove again and again where they are. At most MAX_SUBSCRIBERS, and at most
// one per address.

import { isIP } from 'node:net'
import { formatAddress, type HostAddress } from '../base/address.ts'
import { MAX_ROSTER_ADDRESSES } from '../wire/message.ts'
import type { Sender } from './sender.ts'

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
