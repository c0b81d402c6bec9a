// Who gets what a repeater passes on: the nodes that proved again and again to be where they are. Bounded,
// and one to an address.

import { isIP } from 'node:net'
import { formatAddress, type HostAddress } from '../base/address.ts'
import { MAX_ROSTER_ADDRESSES } from '../wire/message.ts'
import type { Sender } from './sender.ts'

/** Nodes prove it every second: many of these proofs in a row may be lost. */
export const SUBSCRIPTION_LIFETIME_MS = 10_000
export const MAX_SUBSCRIBERS = 256
/** Text of the addresses in one roster: with them it fits the smallest datagrams. */
const MAX_ROSTER_BYTES = 480
/** Tag and length of each address in a roster. */
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

  /** Begins or renews a subscription; false when there is no room for another one. */
  renew(sender: Sender, address: HostAddress, nowMs: number): boolean {
    if (!this.has(sender)) {
      // Its node was started again, and the boot before had no time to leave.
      for (const other of this.all()) {
        if (formatAddress(other.address) === formatAddress(address)) this.remove(other.sender)
      }
      if (this.count >= MAX_SUBSCRIBERS) return false
    }
    this.#subscriptions.set(sender, { sender, address, provenMs: nowMs })
    return true
  }

  /** Whether it was there. */
  remove(sender: Sender): boolean {
    return this.#subscriptions.delete(sender)
  }

  /** Those that did not prove lately where they are. */
  expired(nowMs: number): Sender[] {
    return [...this.all()]
      .filter(({ provenMs }) => nowMs - provenMs > SUBSCRIPTION_LIFETIME_MS)
      .map(({ sender }) => sender)
  }

  /** Where the others are, in as many lists as rosters are needed; an empty one when there are none. */
  rostersFor(sender: Sender): HostAddress[][] {
    const rosters: HostAddress[][] = []
    let roster: HostAddress[] = []
    let bytes = 0
    for (const { sender: other, address } of this.all()) {
      // An address with a zone means something on this machine only.
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
