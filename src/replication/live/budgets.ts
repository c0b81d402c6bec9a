// Opens datagrams and bounds the cost of forged ones: for an unknown boot a key must be derived, which takes some 40
// us. A datagram that does not open is charged to the host that it came from, and a host with an empty account is
// throttled for a moment. Hosts share a fixed number of accounts. A datagram that opens is not charged.

import type { HostAddress } from '../../base/address.ts'
import type { Clock } from '../../base/world.ts'
import type { Header } from '../../wire/datagram.ts'
import type { KeySource } from '../../wire/keyring.ts'
import { openFrom, type Sender } from './senders.ts'

/** Accounts for addresses that this node sends to, and as many for all others. */
const ACCOUNTS = 64
/** Datagrams per account that may fail to open; all accounts together cost at most 4 % of one processor core. */
const FAILURES_PER_SEC = 8
const FAILURE_BURST = 32

export interface Arrived {
  readonly datagram: Buffer
  readonly header: Header
  readonly from: HostAddress
  /** Sender for the boot in the header; undefined when it is unknown. */
  readonly sender: Sender | undefined
}

export class StrangerBudget {
  readonly #keys: KeySource
  readonly #known: readonly ByteBudget[]
  readonly #others: readonly ByteBudget[]

  constructor(clock: Clock, keys: KeySource) {
    this.#keys = keys
    const account = () => new ByteBudget(clock, FAILURES_PER_SEC, FAILURE_BURST)
    this.#known = Array.from({ length: ACCOUNTS }, account)
    this.#others = Array.from({ length: ACCOUNTS }, account)
  }

  /**
   * Opens a datagram and returns the message in it. `unauthenticated`: no key of the ring opens it. `throttled`: it was
   * not tried. Always tried are datagrams from the proven address of their sender, and those of a known sender from an
   * address that this node sends to, as `isDestination` says.
   */
  open(
    { datagram, header, from, sender }: Arrived,
    isDestination: (from: HostAddress) => boolean,
  ): Buffer | 'unauthenticated' | 'throttled' {
    const keyring = this.#keys.current
    // Not charged: this check is cheap, and a node with other keys should be counted as unauthenticated.
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

// A token bucket: how much may be spent now, refilled with time. Its unit is bytes, or datagrams where those are counted.

export class ByteBudget {
  readonly #clock: Clock
  readonly #bytesPerSec: number
  readonly #burstBytes: number
  #bytes: number
  #refilledMs: number

  constructor(clock: Clock, bytesPerSec: number, burstBytes: number) {
    this.#clock = clock
    this.#bytesPerSec = bytesPerSec
    this.#burstBytes = burstBytes
    this.#bytes = burstBytes
    this.#refilledMs = clock.monotonicMs()
  }

  /** Whether the budget holds `bytes` now; takes nothing. */
  has(bytes: number): boolean {
    const nowMs = this.#clock.monotonicMs()
    const refill = ((nowMs - this.#refilledMs) * this.#bytesPerSec) / 1000
    this.#bytes = Math.min(this.#burstBytes, this.#bytes + refill)
    this.#refilledMs = nowMs
    return bytes <= this.#bytes
  }

  /** Takes `bytes` from the budget; false, and nothing is taken, when it holds fewer. */
  take(bytes: number): boolean {
    if (!this.has(bytes)) return false
    this.#bytes -= bytes
    return true
  }
}
