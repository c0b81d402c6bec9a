// What the simulation of rings knows of a host: its node, its terminator, its clocks, and what it was told; and the
// numbers that decide by chance.

import type { TicketRing } from '../../src/tickets/ring.ts'
import type { RingOffer } from '../../src/wire/ring-message.ts'

export interface Ticket {
  readonly key: string
  readonly madeSec: number
  readonly maker: number
  readonly makerBoot: number
  /** Boots of the nodes that were connected to the maker for long enough when it was made, by index. */
  readonly owedBoots: ReadonlyMap<number, number>
}

export interface Terminator {
  current: string | undefined
  opened: ReadonlySet<string>
  readonly coming: {
    readonly atSec: number
    readonly current: string
    readonly opened: Set<string>
  }[]
}

export interface Host {
  readonly index: number
  ring: TicketRing
  terminator: Terminator
  boot: number
  startedAwakeSec: number
  /** Down until then; negative while it runs. */
  downUntilSec: number
  pausedUntilSec: number
  /** For how long it has slept in the pause that ends next. */
  sleptSec: number
  /** Until then it asks all peers, every second, because it started or slept, and makes no key. */
  askUntilSec: number
  monotonicMs: number
  readonly drift: number
  wallSkewMs: number
  side: number
  names: string
  nextChangeMs: number
  /** Seconds in which it was awake, of all its lives. */
  awakeSec: number
  /** When each key that it heard of in this life was made, on the scale of `awakeSec`, as its peers could tell. */
  born: Map<string, number>
}

/** A ring on its way to a host. */
export interface Arrival {
  readonly to: Host
  readonly boot: number
  readonly offer: RingOffer
  /** The ages of its keys in seconds, as far as the sender was told. */
  readonly ages: readonly (readonly [key: string, ageSec: number])[]
}

/** The age of a key as far as a host was told, in seconds; 0 for one that it never heard of. */
export function ageOf({ awakeSec, born }: Host, key: string): number {
  return awakeSec - (born.get(key) ?? awakeSec)
}

/** Notes that a host was told the age of a key. Of several ages the greatest one counts. */
export function noteAge(host: Host, key: string, ageSec: number): void {
  const bornSec = host.awakeSec - ageSec
  host.born.set(key, Math.min(host.born.get(key) ?? bornSec, bornSec))
}

/** Numbers 0 <= n < 1 that follow from a seed of 32 bits (mulberry32), many times faster than hashing. */
export function fastNumbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let bits = Math.imul(state ^ (state >>> 15), state | 1)
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61)
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32
  }
}
