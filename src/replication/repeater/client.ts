// A node's side of its repeaters: resolves their addresses, takes the peers in their rosters, and leaves them at the
// end. The greeter's repeated greetings are the subscription.

import { formatAddress, type HostAddress } from '../../base/address.ts'
import { encodeLeave } from '../../wire/message.ts'
import type { Sender } from '../live/senders.ts'
import { type Sending, send } from '../live/sending.ts'
import type { PeerAddress } from '../peers/addresses.ts'
import { Discovery, type DiscoveryOptions } from '../peers/discovery.ts'
import type { Greeter } from '../peers/greeter.ts'

export interface RepeaterClientOptions extends Sending, Omit<DiscoveryOptions, 'onChange'> {
  readonly greeter: Greeter
}

export class RepeaterClient {
  readonly #options: RepeaterClientOptions
  readonly #discovery: Discovery
  #hasRoster = false

  /** `options.peers` says where the repeaters are. */
  constructor(options: RepeaterClientOptions) {
    this.#options = options
    this.#discovery = new Discovery({
      ...options,
      onChange: (addresses) => this.#setAddresses(addresses),
    })
  }

  /** Whether a roster has arrived since the start. */
  get hasRoster(): boolean {
    return this.#hasRoster
  }

  /** Whether there are names of repeaters that have not been looked up since the start. */
  get isWaiting(): boolean {
    return this.#discovery.isWaiting
  }

  start(): Promise<void> {
    this.#hasRoster = false
    return this.#discovery.start()
  }

  /** Leaves the repeaters. Without this message they notice only when the subscription ends. */
  stop(): void {
    this.#discovery.stop()
    for (const peer of this.#options.addresses.all) {
      if (peer.kind === 'repeater') this.#leave(peer)
    }
  }

  setRepeaters(repeaters: DiscoveryOptions['peers']): Promise<void> {
    return this.#discovery.setPeers(repeaters)
  }

  /** Takes a roster: the addresses of the other subscribers of a repeater. */
  meet(subscribers: readonly HostAddress[]): void {
    const { addresses, greeter, clock, isExcluded } = this.#options
    this.#hasRoster = true
    const others = subscribers.filter((address) => !isExcluded(address))
    addresses.list(others, clock.monotonicMs())
    greeter.greetAddresses()
  }

  /** Warns when a node is configured as a repeater, or a repeater as a peer. */
  checkRole({ nodeName, provenAddress, isRepeater }: Sender): void {
    if (provenAddress === undefined) return
    const { addresses, logger } = this.#options
    const kind = addresses.kindOf(provenAddress)
    const fields = { name: nodeName, address: formatAddress(provenAddress) }
    if (kind === 'repeater' && !isRepeater) {
      logger.warn(fields, 'replication: what is configured as a repeater is no repeater but a node')
    }
    if (kind === 'peer' && isRepeater) {
      logger.warn(fields, 'replication: what is configured as a peer is a repeater')
    }
  }

  #setAddresses(repeaters: readonly HostAddress[]): void {
    const { addresses, greeter, clock } = this.#options
    const kept = new Set(repeaters.map(formatAddress))
    for (const peer of addresses.all) {
      if (peer.kind === 'repeater' && !kept.has(formatAddress(peer.address))) this.#leave(peer)
    }
    addresses.setRepeaters(repeaters, clock.monotonicMs())
    greeter.greetAddresses()
  }

  #leave({ address, sender }: PeerAddress): void {
    if (sender === undefined) return
    send(this.#options, this.#options.sealer.seal('control', encodeLeave(sender.bootId)), address)
  }
}
