// Opens datagrams, and bounds what forged ones cost: for an unknown boot a key of its own has to be derived, some 40 us.
// So what does not open is charged to the host that it came from, and a host that was charged too much is not served for
// a moment. Hosts share a fixed number of accounts. A datagram that opens costs nothing.

import type { HostAddress } from '../base/address.ts'
import type { Clock } from '../base/clock.ts'
import type { Header } from '../wire/datagram.ts'
import type { Keyring } from '../wire/keyring.ts'
import { ByteBudget } from './byte-budget.ts'
import { openFrom, type Sender } from './sender.ts'

/** Accounts for addresses that this node sends to, and as many for all others. */
const ACCOUNTS = 64
/** Datagrams that do not open, per account: all accounts together cost 4 % of one processor core. */
const FAILURES_PER_SEC = 8
const FAILURE_BURST = 32

export interface Arrived {
  readonly datagram: Buffer
  readonly header: Header
  readonly from: HostAddress
  /** The boot that the header names, if it is known. */
  readonly sender: Sender | undefined
}

export class StrangerBudget {
  readonly #known: readonly ByteBudget[]
  readonly #others: readonly ByteBudget[]

  constructor(clock: Clock) {
    const account = () => new ByteBudget(clock, FAILURES_PER_SEC, FAILURE_BURST)
    this.#known = Array.from({ length: ACCOUNTS }, account)
    this.#others = Array.from({ length: ACCOUNTS }, account)
  }

  /**
   * The message in a datagram. `unauthenticated`: no key of the ring opens it. `throttled`: it was not tried. What comes
   * from where its sender proved to be is always tried, and so is what a known sender sends from a place that this node
   * sends to, as `isDestination` says.
   */
  open(
    { datagram, header, from, sender }: Arrived,
    keyring: Keyring,
    isDestination: (from: HostAddress) => boolean,
  ): Buffer | 'unauthenticated' | 'throttled' {
    // Costs next to nothing, and a node with other keys is to be seen as that.
    if (!keyring.has(header.keyId)) return 'unauthenticated'
    if (sender?.isProvenAt(from) === true) {
      return openFrom(sender, datagram, header, keyring) ?? 'unauthenticated'
    }
    const isKnown = isDestination(from)
    const account = sender !== undefined && isKnown ? undefined : this.#accountOf(from, isKnown)
    if (account?.has(1) === false) return 'throttled'
    const message = openFrom(sender, datagram, header, keyring)
    if (message !== undefined) return message
    account?.take(1)
    return 'unauthenticated'
  }

  #accountOf({ host }: HostAddress, isKnown: boolean): ByteBudget | undefined {
    let hash = 0
    for (let index = 0; index < host.length; index += 1) {
      hash = (Math.imul(hash, 31) + host.charCodeAt(index)) | 0
    }
    return (isKnown ? this.#known : this.#others)[(hash >>> 0) % ACCOUNTS]
  }
}
