// A plan: everything that happens in one run, drawn from a seed beforehand, so that a run that fails can be made
// shorter by leaving actions out. It is plain data.

import type { ConfigInput } from '../../src/node/config-schema.ts'
import { Chance } from './chance.ts'
import { drawFault, FAULT_KINDS, type Fault, type FaultKind } from './fault-kinds.ts'
import { drawTickets } from './rings.ts'

/** How the nodes find each other. */
export const TOPOLOGIES = ['list', 'names', 'service', 'group', 'repeater'] as const
export type Topology = (typeof TOPOLOGIES)[number]

export const CALLS = ['put', 'get', 'remove', 'touch'] as const

/** A call that a terminator makes on one node. */
export interface Call {
  readonly kind: (typeof CALLS)[number]
  readonly atMs: number
  readonly node: number
  readonly cache: number
  /** Number of the session ID. */
  readonly id: number
  /** Number of the session ID context and of the server name. */
  readonly context: number
  readonly serverName: number
  /** Number that makes the bytes of a session differ from all others. */
  readonly value: number
  readonly sessionBytes: number
  readonly ttlMs: number
}

export type Action = Call | Fault

export interface NodePlan {
  /** How wrong the wall clock of its machine is from the beginning. */
  readonly wallErrorMs: number
  readonly minimumVersion: 1 | 2
  readonly maxDatagramBytes: number
  /** The caches of this node; limits may differ from node to node. */
  readonly caches: NonNullable<ConfigInput['caches']>
}

export interface Plan {
  readonly seed: number
  readonly topology: Topology
  readonly nodes: readonly NodePlan[]
  readonly digestIntervalSec: number
  /** The ticket keys of all nodes; undefined for none. */
  readonly tickets: ConfigInput['tickets']
  /** Share of the faults that could be: 0 for none, 1 for very many. */
  readonly density: number
  /** When the last fault ends. */
  readonly durationMs: number
  readonly actions: readonly Action[]
}

export interface PlanOptions {
  /** Nodes; drawn when undefined. */
  readonly nodes?: number | undefined
  /** Kinds of faults to draw from; default: all. */
  readonly faults?: readonly FaultKind[] | undefined
}

const MAX_NODES = 16
/** Names of the caches, in the order of their numbers in calls. */
export const CACHE_NAMES = ['ssl', 'small', 'strict', 'once'] as const
export type CacheName = (typeof CACHE_NAMES)[number]
const IDS = 40
/**
 * Far more than the sessions of a run take. With a limit a large store takes its memory in pages of 128 KiB in place of
 * 4 MiB, and the pages of a whole cluster cost V8 a quarter of the run (measured).
 */
const MEMORY = '16MiB'
const MAX_WALL_ERROR_MS = 100_000_000_000
const LONG_MS = 1_800_000
/** Calls of one run, on average, at most. */
const MAX_CALLS = 800

export function drawPlan(seed: number, options: PlanOptions = {}): Plan {
  const chance = new Chance(seed, 'plan')
  const count = options.nodes ?? drawCount(chance)
  const topology = chance.pick(TOPOLOGIES)
  const density = chance.happens(0.1) ? 0 : chance.scale(0.05, 1)
  const durationMs = chance.happens(0.95) ? chance.scale(20_000, 400_000) : LONG_MS
  const isDiffering = chance.happens(0.2)
  const minimumVersion = chance.happens(0.3) ? 2 : 1
  const digestIntervalSec = chance.pick([10, 30])
  const timeoutSec = Math.round(chance.scale(30, 900))
  const maxDatagramBytes = chance.pick([1400, 1400, 8192, 600])
  const isClockWrong = chance.happens(0.5)
  const nodes = Array.from({ length: count }, () => ({
    wallErrorMs: isClockWrong ? Math.round(drawWallError(chance)) : 0,
    minimumVersion: minimumVersion as 1 | 2,
    maxDatagramBytes,
    caches: drawCaches(chance, timeoutSec, isDiffering),
  }))
  const shape = { count, topology, durationMs }
  const actions: Action[] = drawCalls(chance, shape, nodes, timeoutSec)
  const kinds = options.faults ?? drawKinds(chance)
  const faults = Math.round((density * durationMs) / chance.scale(3000, 12_000))
  for (let fault = 0; fault < faults && kinds.length > 0; fault += 1) {
    actions.push(drawFault(chance, chance.pick(kinds), shape))
  }
  actions.sort((a, b) => a.atMs - b.atMs)
  const tickets = drawTickets(seed)
  return { seed, topology, nodes, digestIntervalSec, tickets, density, durationMs, actions }
}

/** Often only a few kinds of faults: they reach further than all together, because the others do not hide theirs. */
function drawKinds(chance: Chance): readonly FaultKind[] {
  if (chance.happens(0.4)) return FAULT_KINDS
  return Array.from({ length: 1 + chance.below(6) }, () => chance.pick(FAULT_KINDS))
}

/** From milliseconds to years, in both directions. */
function drawWallError(chance: Chance): number {
  const errorMs = chance.scale(1, MAX_WALL_ERROR_MS)
  return chance.happens(0.5) ? errorMs : -errorMs
}

function drawCount(chance: Chance): number {
  return chance.happens(0.04) ? 9 + chance.below(MAX_NODES - 8) : 2 + chance.below(5)
}

function drawCaches(
  chance: Chance,
  timeoutSec: number,
  isDiffering: boolean,
): NonNullable<ConfigInput['caches']> {
  const own = <Value>(usual: Value, other: Value) =>
    isDiffering && chance.happens(0.4) ? other : usual
  const timeout = `${own(timeoutSec, Math.round(timeoutSec / 3))}s`
  const memory = MEMORY
  return [
    {
      name: 'ssl',
      items: own(1000, 900),
      keysize: own(32, 24),
      blocksize: own(8192, 700),
      timeout,
      memory,
    },
    { name: 'small', items: own(5, 4), timeout, blocksize: 8192 },
    { name: 'strict', items: own(6, 8), timeout, full: 'refuse', blocksize: 8192 },
    {
      name: 'once',
      items: 200,
      timeout,
      memory,
      single_use: true,
      contexts: own(['a', 'b', 'c'], ['a']),
    },
  ]
}

function drawCalls(
  chance: Chance,
  { count, durationMs }: { count: number; durationMs: number },
  nodes: readonly NodePlan[],
  timeoutSec: number,
): Call[] {
  const calls: Call[] = []
  const meanMs = Math.max(chance.scale(300, 15_000), (2 * durationMs) / MAX_CALLS)
  for (let atMs = 1500; atMs < durationMs; atMs += -Math.log(1 - chance.share()) * meanMs) {
    // Calls come in bursts now and then: a batch fills datagrams.
    const burst = chance.happens(0.03) ? 2 + chance.below(60) : 1
    for (let call = 0; call < burst; call += 1) {
      calls.push({
        kind: chance.pick(['put', 'put', 'put', 'get', 'get', 'get', 'get', 'remove', 'touch']),
        atMs,
        node: chance.below(count),
        cache: chance.happens(0.5) ? 0 : chance.below(nodes[0]?.caches.length ?? 1),
        id: chance.below(IDS),
        context: chance.happens(0.9) ? 0 : chance.below(4),
        serverName: chance.happens(0.9) ? 0 : chance.below(3),
        value: calls.length + 1,
        sessionBytes: chance.happens(0.05) ? 1 + chance.below(9000) : 60 + chance.below(200),
        ttlMs: chance.happens(0.01)
          ? 0
          : chance.happens(0.3)
            ? Math.round(chance.scale(200, timeoutSec * 1000))
            : timeoutSec * 1000,
      })
    }
  }
  return calls
}
