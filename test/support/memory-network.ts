// A network in memory: the twin of UdpTransport for tests. Loses, doubles and reorders by a seeded
// random number generator, and records what passed.

import { formatAddress, type HostAddress } from '../../src/base/address.ts'
import type { Clock } from '../../src/base/world.ts'
import type { DatagramReceiver, Transport } from '../../src/replication/live/transport.ts'

const MAX_REORDER_MS = 20

export interface MemoryNetworkOptions {
  readonly clock: Clock
  /** Time on the wire. Default 0: arrives with the next turn. */
  readonly delayMs?: number
  /** Shares of all datagrams, 0..1. */
  readonly loss?: number
  readonly duplication?: number
  /** Share that takes up to MAX_REORDER_MS longer. */
  readonly reordering?: number
  /** 0 <= value < 1, as Math.random. */
  readonly random?: () => number
}

export interface Passed {
  readonly datagram: Buffer
  readonly from: HostAddress
  readonly to: HostAddress
}

export class MemoryNetwork {
  /** Everything that was sent, lost datagrams included. */
  readonly sent: Passed[] = []
  loss: number
  /** Whether a datagram is lost on the last stretch, to this receiver only. */
  isLost: (passed: Passed, receiver: HostAddress) => boolean = () => false
  readonly #options: MemoryNetworkOptions
  readonly #receivers = new Map<string, Set<MemoryTransport>>()

  constructor(options: MemoryNetworkOptions) {
    this.#options = options
    this.loss = options.loss ?? 0
  }

  transport(address: HostAddress, group?: HostAddress): MemoryTransport {
    return new MemoryTransport(this, address, group)
  }

  /** Delivers a datagram as if `from` had sent it, whoever that is. */
  deliver(passed: Passed): void {
    for (const transport of this.#receivers.get(formatAddress(passed.to)) ?? []) {
      if (this.isLost(passed, transport.address)) continue
      // Every receiver gets its own copy of the bytes, as from a socket.
      transport.receive(Buffer.from(passed.datagram), passed.from)
    }
  }

  send(passed: Passed): void {
    const { clock, delayMs = 0, duplication = 0, reordering = 0 } = this.#options
    this.sent.push({ ...passed, datagram: Buffer.from(passed.datagram) })
    if (this.#happens(this.loss)) return
    const copies = this.#happens(duplication) ? 2 : 1
    for (let copy = 0; copy < copies; copy += 1) {
      const extraMs = this.#happens(reordering) ? this.#random() * MAX_REORDER_MS : 0
      clock.after(delayMs + extraMs, () => this.deliver(passed))
    }
  }

  attach(address: HostAddress, transport: MemoryTransport): void {
    const key = formatAddress(address)
    this.#receivers.set(key, (this.#receivers.get(key) ?? new Set()).add(transport))
  }

  detach(transport: MemoryTransport): void {
    for (const receivers of this.#receivers.values()) receivers.delete(transport)
  }

  #happens(share: number): boolean {
    return share > 0 && this.#random() < share
  }

  #random(): number {
    return this.#options.random?.() ?? 1
  }
}

export class MemoryTransport implements Transport {
  readonly address: HostAddress
  readonly group: HostAddress | undefined
  readonly queuedBytes = 0
  /** What `send` answers: false is a queue without room. */
  hasRoom = true
  readonly #network: MemoryNetwork
  #receive: DatagramReceiver | undefined

  constructor(network: MemoryNetwork, address: HostAddress, group: HostAddress | undefined) {
    this.#network = network
    this.address = address
    this.group = group
  }

  start(receive: DatagramReceiver): Promise<void> {
    this.#receive = receive
    this.#network.attach(this.address, this)
    if (this.group !== undefined) this.#network.attach(this.group, this)
    return Promise.resolve()
  }

  send(datagram: Buffer, to: HostAddress): boolean {
    if (!this.hasRoom || this.#receive === undefined) return false
    this.#network.send({ datagram, from: this.address, to })
    return true
  }

  receive(datagram: Buffer, from: HostAddress): void {
    this.#receive?.(datagram, from)
  }

  stop(): Promise<void> {
    this.#receive = undefined
    this.#network.detach(this)
    return Promise.resolve()
  }
}
