// What all machines of a simulation have in common: the time, the network, the streams, the name service, the journal.

import type { HostAddress } from '../../src/base/address.ts'
import { Chance } from './chance.ts'
import { Journal } from './journal.ts'
import { SimulatedNetwork } from './network.ts'
import { StreamNetwork } from './streams.ts'
import { Timeline } from './timeline.ts'

/** A rule that did not hold. */
export class Violation extends Error {
  override readonly name = 'Violation'
}

/** Time that the name service takes to answer. */
const ANSWER_MS = 2

/** The name service: hosts and services, and whether it answers. */
export class NameService {
  readonly addresses = new Map<string, readonly string[]>()
  readonly services = new Map<string, readonly HostAddress[]>()
  isFailing = false
  readonly #timeline: Timeline

  constructor(timeline: Timeline) {
    this.#timeline = timeline
  }

  resolve(name: string): Promise<readonly string[]> {
    return this.#answer(() => this.addresses.get(name), name)
  }

  resolveService(name: string): Promise<readonly HostAddress[]> {
    return this.#answer(() => this.services.get(name), name)
  }

  #answer<Answer>(look: () => Answer | undefined, name: string): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#timeline.in(ANSWER_MS, () => {
        const answer = look()
        if (this.isFailing) reject(new Error(`queryA ETIMEOUT ${name}`))
        else if (answer === undefined) reject(new Error(`getaddrinfo ENOTFOUND ${name}`))
        else resolve(answer)
      })
    })
  }
}

export class SimulatedWorld {
  readonly seed: number
  readonly timeline = new Timeline()
  readonly network: SimulatedNetwork
  readonly streams: StreamNetwork
  readonly names: NameService
  readonly journal: Journal
  /** The first rule that did not hold; undefined when all did. */
  violation: string | undefined

  constructor(seed: number, isKeepingLines: boolean) {
    this.seed = seed
    this.journal = new Journal(isKeepingLines, () => this.timeline.nowMs)
    this.network = new SimulatedNetwork(this.timeline, this.chance('network'))
    this.streams = new StreamNetwork(this.timeline, this.network, this.chance('streams'))
    this.names = new NameService(this.timeline)
    this.network.onDelivery = ({ bytes }) => {
      this.journal.mix(this.timeline.nowMs * 1000)
      this.journal.mixBytes(bytes)
    }
  }

  /** Notes that a rule does not hold, also where a node would catch what is thrown; throws a Violation. */
  fail(message: string): never {
    this.violation ??= message
    throw new Violation(message)
  }

  /** A source of random choices for one purpose. */
  chance(purpose: string): Chance {
    return new Chance(this.seed, purpose)
  }
}
