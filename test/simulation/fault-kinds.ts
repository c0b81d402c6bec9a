// The kinds of faults, how one is drawn, and what it is called in a time line.

import type { Chance } from './chance.ts'

export const FAULT_KINDS = [
  // The network.
  'loss',
  'duplication',
  'reordering',
  'delay',
  'mtu',
  'partition',
  'one-way',
  'flapping',
  'queue-full',
  'unreachable',
  'names-away',
  // An attacker without a key.
  'corrupt',
  'forge',
  'replay',
  'hold',
  'relay',
  'strangers',
  // Streams.
  'stream-cut',
  'stream-slow',
  // Machines and processes.
  'kill',
  'power-off',
  'stop',
  'repeater-kill',
  'suspend',
  'sleep',
  'drift',
  'jump',
  'years',
  // People.
  'rotate',
  'rotate-wrong',
  'keys-broken',
  'rename',
  'move',
  'twice',
  'reload',
  'same-name',
  'clone',
  'overload',
] as const
export type FaultKind = (typeof FAULT_KINDS)[number]

/** A fault that begins at `atMs` and ends `forMs` later. */
export interface Fault {
  readonly kind: FaultKind
  readonly atMs: number
  readonly forMs: number
  /** The hosts that it happens to, or one side of a partition; numbers of nodes. */
  readonly hosts: readonly number[]
  /** How much: a share, milliseconds or bytes, as the kind has it. */
  readonly amount: number
}

/** Bounds of `amount` for each kind, drawn by orders of magnitude; 1 where it has no meaning. */
const AMOUNTS: Partial<Record<FaultKind, readonly [number, number]>> = {
  loss: [0.01, 0.6],
  duplication: [0.01, 0.5],
  reordering: [5, 3000],
  delay: [5, 2000],
  mtu: [300, 1300],
  flapping: [300, 8000],
  corrupt: [0.01, 0.5],
  forge: [5, 1000],
  replay: [2, 200],
  hold: [0.02, 0.5],
  strangers: [1, 300],
  'stream-slow': [10, 3000],
  drift: [1e-5, 5e-3],
  jump: [100, 3_600_000],
  overload: [50, 600],
}

/** After one of these, datagrams may arrive that no key opens. */
export const FOREIGN: ReadonlySet<string> = new Set([
  'corrupt',
  'forge',
  'replay',
  'hold',
  'relay',
  'suspend',
  'sleep',
  'rotate-wrong',
  'keys-broken',
])

/** Kinds that happen to one host; all others happen to a part of the hosts. */
const LONE: ReadonlySet<FaultKind> = new Set([
  'kill',
  'power-off',
  'stop',
  'suspend',
  'sleep',
  'drift',
  'jump',
  'years',
  'rename',
  'move',
  'same-name',
  'clone',
  'overload',
  'queue-full',
  'unreachable',
  'keys-broken',
])

export function drawFault(
  chance: Chance,
  kind: FaultKind,
  { count, durationMs }: { readonly count: number; readonly durationMs: number },
): Fault {
  const atMs = 1000 + chance.share() * Math.max(0, durationMs - 2000)
  const forMs = Math.min(chance.scale(200, 180_000), durationMs - atMs)
  const [low, high] = AMOUNTS[kind] ?? [1, 1]
  const first = chance.below(count)
  const others = LONE.has(kind) ? 0 : chance.below(count - 1)
  const hosts = Array.from({ length: others + 1 }, (_, index) => (first + index) % count)
  return { kind, atMs, forMs, hosts, amount: chance.scale(low, high) }
}

/** When the first of these faults begins; infinite when there is none. */
export function firstMs(
  actions: readonly { readonly kind: string; readonly atMs: number }[],
  kinds: ReadonlySet<string>,
): number {
  const moments = actions.filter(({ kind }) => kinds.has(kind)).map(({ atMs }) => atMs)
  return Math.min(...moments, Number.POSITIVE_INFINITY)
}

export function isFault(action: { readonly kind: string }): action is Fault {
  return (FAULT_KINDS as readonly string[]).includes(action.kind)
}
