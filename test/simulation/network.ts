// The datagram network of a simulation: it loses, doubles, delays and reorders, drops what is too large without a word,
// and cuts links in one or both directions. An observer sees everything that passes, and may take it away.

import { formatAddress, type HostAddress, isMulticast } from '../../src/base/address.ts'
import type { Chance } from './chance.ts'
import type { Timeline } from './timeline.ts'

export interface Datagram {
  readonly from: HostAddress
  readonly to: HostAddress
  readonly bytes: Buffer
}

/** What a path does to traffic. Several rules may hold on one path: the worst of each applies. */
export interface PathRule {
  /** Hosts by IP address; undefined for all. */
  readonly from?: readonly string[] | undefined
  readonly to?: readonly string[] | undefined
  readonly isCut?: boolean
  /** Shares of datagrams, 0..1. */
  readonly loss?: number
  readonly duplication?: number
  /** Share that takes up to `reorderMs` longer. */
  readonly reordering?: number
  readonly reorderMs?: number
  readonly delayMs?: number
  /** Datagrams with more bytes disappear. */
  readonly mtuBytes?: number
}

export interface Path {
  isCut: boolean
  loss: number
  duplication: number
  reordering: number
  reorderMs: number
  delayMs: number
  mtuBytes: number
}

/** A path without rules. */
const CALM_PATH: Readonly<Path> = {
  isCut: false,
  loss: 0,
  duplication: 0,
  reordering: 0,
  reorderMs: 0,
  delayMs: 0.15,
  mtuBytes: Number.POSITIVE_INFINITY,
}

export interface Receiver {
  /** IP address at which it receives. */
  readonly host: string
  /** Takes a datagram that arrived, which is its own copy. */
  receive(datagram: Datagram): void
}

/** How much longer a datagram may take on any path. */
const JITTER_MS = 0.1

export class SimulatedNetwork {
  readonly rules = new Set<PathRule>()
  /** Sees each datagram that is sent; false takes it away. */
  onSent: (datagram: Datagram) => boolean = () => true
  /** Called with each datagram that is about to be delivered. */
  onDelivery: (datagram: Datagram) => void = () => {}
  sentCount = 0
  deliveredCount = 0
  readonly #timeline: Timeline
  readonly #chance: Chance
  readonly #groups = new Map<string, boolean>()
  readonly #receivers = new Map<string, Set<Receiver>>()

  constructor(timeline: Timeline, chance: Chance) {
    this.#timeline = timeline
    this.#chance = chance
  }

  /** Whether nobody receives at this address. */
  isFree(address: HostAddress): boolean {
    return (this.#receivers.get(formatAddress(address))?.size ?? 0) === 0
  }

  attach(address: HostAddress, receiver: Receiver): void {
    const key = formatAddress(address)
    this.#receivers.set(key, (this.#receivers.get(key) ?? new Set()).add(receiver))
  }

  detach(address: HostAddress, receiver: Receiver): void {
    this.#receivers.get(formatAddress(address))?.delete(receiver)
  }

  send(from: HostAddress, to: HostAddress, bytes: Buffer): void {
    this.sentCount += 1
    const datagram = { from, to, bytes }
    if (this.onSent(datagram)) this.carry(datagram)
  }

  /** Carries a datagram that the observer does not see, perhaps one that nobody sent. */
  carry(datagram: Datagram): void {
    // Each member of a group is reached on a path of its own.
    const receivers = this.#isGroup(datagram.to.host)
      ? [...(this.#receivers.get(formatAddress(datagram.to)) ?? [])].map(({ host }) => host)
      : [datagram.to.host]
    for (const host of receivers) this.#carryTo(host, datagram)
  }

  #isGroup(host: string): boolean {
    const known = this.#groups.get(host)
    if (known !== undefined) return known
    const isGroup = isMulticast(host)
    this.#groups.set(host, isGroup)
    return isGroup
  }

  /** What a path does now. */
  path(from: string, to: string): Readonly<Path> {
    // A host reaches itself, whatever happens to the network.
    if (this.rules.size === 0 || from === to) return CALM_PATH
    const path = { ...CALM_PATH }
    for (const rule of this.rules) {
      if (rule.from !== undefined && !rule.from.includes(from)) continue
      if (rule.to !== undefined && !rule.to.includes(to)) continue
      path.isCut ||= rule.isCut ?? false
      path.loss = Math.max(path.loss, rule.loss ?? 0)
      path.duplication = Math.max(path.duplication, rule.duplication ?? 0)
      path.reordering = Math.max(path.reordering, rule.reordering ?? 0)
      path.reorderMs = Math.max(path.reorderMs, rule.reorderMs ?? 0)
      path.delayMs = Math.max(path.delayMs, rule.delayMs ?? 0)
      path.mtuBytes = Math.min(path.mtuBytes, rule.mtuBytes ?? path.mtuBytes)
    }
    return path
  }

  #carryTo(host: string, datagram: Datagram): void {
    const path = this.path(datagram.from.host, host)
    if (path.isCut || datagram.bytes.length > path.mtuBytes) return
    if (this.#chance.happens(path.loss)) return
    const copies = this.#chance.happens(path.duplication) ? 2 : 1
    for (let copy = 0; copy < copies; copy += 1) {
      const jitterMs = this.#chance.share() * (JITTER_MS + path.delayMs / 10)
      const lateMs = this.#chance.happens(path.reordering)
        ? this.#chance.share() * path.reorderMs
        : 0
      this.#timeline.in(path.delayMs + jitterMs + lateMs, () => this.#deliver(host, datagram))
    }
  }

  #deliver(host: string, { from, to, bytes }: Datagram): void {
    for (const receiver of this.#receivers.get(formatAddress(to)) ?? []) {
      if (receiver.host !== host) continue
      this.deliveredCount += 1
      const delivered = { from, to, bytes: Buffer.from(bytes) }
      this.onDelivery(delivered)
      receiver.receive(delivered)
    }
  }
}
