// What must hold of the rings of ticket keys in a simulated cluster: no key comes back to a node that retired it, none
// outlives its time, no offer of a node is faulty, and at rest all nodes hold the same keys.

import type { ConfigInput } from '../../src/node/config-schema.ts'
import type { RingTimes } from '../../src/tickets/times.ts'
import { MAX_RETIRED_NAMES, MAX_RING_KEYS } from '../../src/wire/ring-message.ts'
import { Chance } from './chance.ts'
import type { Member, Running } from './cluster.ts'
import type { SimulatedProcess } from './host.ts'
import type { ClusterModel } from './model.ts'
import { Violation } from './world.ts'

/** Share of the plans in which the nodes have ticket keys. */
const TICKETS_SHARE = 0.25
const GROUP = 'web'
/** Shortest and longest time between two keys; the shortest is the least that the configuration takes. */
const ROTATE_SEC = [10, 60] as const
/** The shortest time that a new key has to wait. */
const SHORTEST_WAIT_SEC = 8
/** Time for a key to reach all nodes, and for its end to do so; streams may have to be tried again. */
const TRAVEL_MS = 15_000
/** Fastest clock of a host against the slowest. */
const DRIFT = 1.011

/** The section `tickets` of all nodes of a plan; undefined when they have none. It draws from a source of its own. */
export function drawTickets(seed: number): ConfigInput['tickets'] {
  const chance = new Chance(seed, 'tickets')
  if (!chance.happens(TICKETS_SHARE)) return undefined
  const rotateSec = Math.round(chance.scale(...ROTATE_SEC))
  const waitSec = Math.max(SHORTEST_WAIT_SEC, Math.round(rotateSec / 2))
  return { groups: [{ name: GROUP, rotate: `${rotateSec}s`, wait: `${waitSec}s` }] }
}

/** What the rings of all nodes of a run were seen to hold. */
export class RingWatch {
  readonly #model: ClusterModel
  /** When each key was first seen on any node, in simulated time, by its name. */
  readonly #seenMs = new Map<string, number>()
  /** When each key was first seen to be retired by any node: all nodes forget its name at the same time. */
  readonly #retiredMs = new Map<string, number>()
  /** The keys that each process was seen to hold, and those that it held once and retired. */
  readonly #held = new WeakMap<SimulatedProcess, Set<string>>()
  readonly #retired = new WeakMap<SimulatedProcess, Set<string>>()

  constructor(model: ClusterModel) {
    this.#model = model
  }

  /** Looks at the ring of one node; to be called once a second. `hasClones`: another node may draw the same secrets. */
  look({ name }: Member, { node, process }: Running, nowMs: number, hasClones: boolean): void {
    for (const { keys, times, stats } of node.tickets?.authority.rings ?? []) {
      const names = new Set(keys.map(({ key }) => key.hexName))
      const retired = this.#noteRetired(process, names, nowMs)
      // A node remembers the names for a time, and no more than this many.
      const oldestMs = nowMs - times.rememberMs / DRIFT
      const remembers = this.#retiredMs.size < MAX_RETIRED_NAMES
      for (const hexName of names) {
        const retiredMs = this.#retiredMs.get(hexName) ?? Number.NEGATIVE_INFINITY
        if (remembers && retired.has(hexName) && retiredMs > oldestMs)
          throw new Violation(`${name} holds the ticket key ${hexName} again, which it retired`)
        this.#checkAge(name, hexName, times, nowMs)
      }
      const { zero, repeated, renamed } = stats.refused
      if (!hasClones && zero + repeated + renamed > 0)
        throw new Violation(`${name} refused ticket keys of a node as faulty`)
    }
  }

  /** Returns the keys that this process held once and retired. */
  #noteRetired(process: SimulatedProcess, names: Set<string>, nowMs: number): Set<string> {
    const retired = this.#retired.get(process) ?? new Set()
    for (const hexName of this.#held.get(process) ?? []) {
      if (names.has(hexName)) continue
      retired.add(hexName)
      this.#retiredMs.set(hexName, this.#retiredMs.get(hexName) ?? nowMs)
    }
    this.#retired.set(process, retired)
    this.#held.set(process, names)
    return retired
  }

  #checkAge(name: string, hexName: string, { openMs }: RingTimes, nowMs: number): void {
    const seenMs = this.#seenMs.get(hexName) ?? nowMs
    this.#seenMs.set(hexName, seenMs)
    const longestMs = openMs * DRIFT + TRAVEL_MS + this.#model.heldBackSince(seenMs)
    if (nowMs - seenMs > longestMs)
      throw new Violation(`${name} holds the ticket key ${hexName} longer than it may be used`)
  }
}

/** All nodes of a cluster at rest hold the same ticket keys, but for those that come or end just now. */
export function checkRingsAgree(
  present: readonly { readonly member: Member; readonly running: Running }[],
): void {
  const all = present.flatMap(({ member, running }) =>
    (running.node.tickets?.authority.rings ?? []).map(({ keys, times }) => {
      const nowMs = running.process.clock.monotonicMs()
      const ages = keys.map(({ key, bornMs, knownMs }) => {
        const isComing = nowMs - knownMs < TRAVEL_MS
        const isEnding = nowMs - bornMs > times.openMs - TRAVEL_MS
        return [key.hexName, isComing || isEnding] as const
      })
      return { name: member.name, keys: new Map(ages) }
    }),
  )
  // A full ring gives up its oldest key for a new one, on each node another one.
  if (all.some(({ keys }) => keys.size >= MAX_RING_KEYS)) return
  for (const { name, keys } of all) {
    if (keys.size === 0) throw new Violation(`at rest ${name} has no ticket key`)
    for (const [hexName, isMoving] of keys) {
      const other = all.find((one) => !one.keys.has(hexName))
      if (isMoving || other === undefined) continue
      throw new Violation(`at rest ${name} holds the ticket key ${hexName}, and ${other.name} not`)
    }
  }
}
