// What the soak test asks of its hosts, and what they answer.

import type { Impairment } from './impairment.ts'

export interface SoakSetup {
  readonly name: string
  readonly listen: string
  readonly peers: readonly string[]
  readonly keys: readonly string[]
  /** Lifetime of every session. */
  readonly ttlSec: number
}

export type SoakCommand =
  | { readonly do: 'impair'; readonly impairment: Impairment }
  /** Puts and removes at this rate until `rest`. */
  | { readonly do: 'work'; readonly putsPerSec: number }
  | { readonly do: 'rest' }
  | { readonly do: 'put'; readonly labels: readonly string[] }
  | { readonly do: 'found'; readonly labels: readonly string[] }
  | { readonly do: 'status' }
  | { readonly do: 'memory' }

export interface SoakStatus {
  readonly isReady: boolean
  readonly peersUp: number
  /** Sessions and removals held. */
  readonly entries: number
  /** Since the process began. */
  readonly puts: number
  readonly applied: number
  readonly repaired: number
  readonly lost: number
}

/** After two full garbage collections. */
export interface SoakMemory {
  readonly rssBytes: number
  readonly heapBytes: number
  /** Outside the heap: pages of sessions, sockets' buffers. */
  readonly externalBytes: number
}

/** Said unasked after the stop: what would keep the process from ending. */
export interface Leftovers {
  readonly resources: readonly string[]
}
