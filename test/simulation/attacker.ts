// An attacker who has no key, sees every datagram of the cluster, and takes away, delays, changes, repeats and forges
// as he likes. He also connects to the streams of the nodes.

import type { HostAddress } from '../../src/base/address.ts'
import { readHeader } from '../../src/wire/datagram.ts'
import { KEY_BYTES, Keyring } from '../../src/wire/keyring.ts'
import type { Chance } from './chance.ts'
import type { Datagram } from './network.ts'
import type { SocketOwner } from './streams.ts'
import type { SimulatedWorld } from './world.ts'

/** Datagrams that he keeps: each new one takes the place of a random old one. */
const RECORDED = 500
const HIS_ADDRESS = { host: '10.6.6.6', port: 666 }

export class Attacker {
  /** Shares of datagrams that pass. */
  corruptShare = 0
  holdShare = 0
  relayShare = 0
  readonly #world: SimulatedWorld
  readonly #chance: Chance
  readonly #recorded: Datagram[] = []
  readonly #targets: () => readonly HostAddress[]
  readonly #keyring: Keyring
  /** Called with the time that he holds a datagram back. */
  readonly #onHold: (forMs: number) => void

  constructor(
    world: SimulatedWorld,
    targets: () => readonly HostAddress[],
    onHold: (forMs: number) => void,
  ) {
    this.#world = world
    this.#chance = world.chance('attacker')
    this.#targets = targets
    this.#onHold = onHold
    this.#keyring = new Keyring([this.#chance.bytes(KEY_BYTES)])
    world.streams.onConnect = (from, to) => {
      if (to === HIS_ADDRESS.host) world.fail(`${from} connected to an address where no node is`)
    }
    world.network.onSent = (datagram) => this.#see(datagram)
  }

  /** Sends datagrams that nobody sent, `perSec` a second; ends when the result is called. */
  forge(perSec: number): () => void {
    const victim = this.#chooseVictim()
    return this.#repeat(perSec, () => {
      this.#world.network.carry(this.#forgery(victim ?? this.#chance.pick(this.#targets())))
    })
  }

  replay(perSec: number): () => void {
    const victim = this.#chooseVictim()
    return this.#repeat(perSec, () => {
      const recorded = this.#recorded[this.#chance.below(this.#recorded.length)]
      if (recorded === undefined) return
      const { network } = this.#world
      const from = this.#chance.happens(0.5) ? recorded.from : HIS_ADDRESS
      const to = this.#chance.happens(0.7) ? recorded.to : this.#chance.pick(this.#targets())
      network.carry({ from, to: victim ?? to, bytes: recorded.bytes })
    })
  }

  /** One node or repeater, half of the time: what comes at one place exhausts budgets that it would not reach at many. */
  #chooseVictim(): HostAddress | undefined {
    return this.#chance.happens(0.5) ? this.#chance.pick(this.#targets()) : undefined
  }

  /** Connects again and again without a key, and holds the connections open. */
  connect(perSec: number): () => void {
    const owner: SocketOwner = {
      host: HIS_ADDRESS.host,
      dispatch: (callback) => callback(),
      sockets: new Set(),
    }
    const victim = this.#chooseVictim()
    const end = this.#repeat(perSec, () => {
      const target = victim ?? this.#chance.pick(this.#targets())
      // Every other connection never begins its handshake.
      const keyring = this.#chance.happens(0.5) ? this.#keyring : undefined
      const socket = this.#world.streams.connect(owner, target, keyring)
      socket.on('error', () => {})
    })
    return () => {
      end()
      for (const socket of [...owner.sockets]) socket.vanish(true)
    }
  }

  #repeat(perSec: number, act: () => void): () => void {
    const { timeline } = this.#world
    let isOver = false
    const next = () => {
      if (isOver) return
      act()
      timeline.in((2 * this.#chance.share() * 1000) / perSec, next)
    }
    timeline.in(0, next)
    return () => {
      isOver = true
    }
  }

  #see(datagram: Datagram): boolean {
    this.#record(datagram)
    if (datagram.to.host === HIS_ADDRESS.host) this.#checkMail(datagram)
    const { network, timeline } = this.#world
    if (this.#chance.happens(this.corruptShare)) {
      network.carry({ ...datagram, bytes: this.#corrupted(datagram.bytes) })
      return this.#chance.happens(0.5)
    }
    if (this.#chance.happens(this.holdShare)) {
      const forMs = this.#chance.scale(10, 60_000)
      this.#onHold(forMs)
      timeline.in(forMs, () => network.carry(datagram))
      return false
    }
    if (this.#chance.happens(this.relayShare)) {
      network.carry({ ...datagram, from: HIS_ADDRESS })
      return this.#chance.happens(0.5)
    }
    return true
  }

  /** Greetings may go to him, as to anybody; changes and connections only to where a node proved to be. */
  #checkMail({ from, bytes }: Datagram): void {
    if (readHeader(bytes)?.channel !== 'changes') return
    this.#world.fail(`${from.host} sent changes to an address where no node is`)
  }

  #record(datagram: Datagram): void {
    if (this.#recorded.length < RECORDED) this.#recorded.push(datagram)
    else if (this.#chance.happens(0.2)) this.#recorded[this.#chance.below(RECORDED)] = datagram
  }

  #corrupted(bytes: Buffer): Buffer {
    const copy = Buffer.from(bytes)
    if (this.#chance.happens(0.2)) return copy.subarray(0, this.#chance.below(copy.length))
    const at = this.#chance.below(copy.length)
    copy[at] = copy.readUInt8(at) ^ (1 << this.#chance.below(8))
    return copy
  }

  #forgery(to: HostAddress): Datagram {
    const recorded = this.#recorded[this.#chance.below(this.#recorded.length)]
    const isSpoofed = this.#chance.happens(0.5)
    const from = isSpoofed ? this.#chance.pick(this.#targets()) : HIS_ADDRESS
    const bytes = this.#chance.bytes(this.#chance.pick([0, 8, 40, 300, 900]))
    // Most forgeries have the header of a real datagram, so that only decryption tells.
    if (recorded !== undefined && this.#chance.happens(0.8)) recorded.bytes.copy(bytes, 0, 0, 32)
    return { from, to, bytes }
  }
}
