// What the network matrix asks of its hosts, and what they answer.

import type { Impairment } from './impairment.ts'

export interface HostSetup {
  readonly number: number
  readonly addresses: readonly string[]
  readonly keys: readonly string[]
}

/** Session `i` of a row is put by host `i % hosts`, `i * everyMs` after the start. */
export interface Load {
  readonly row: string
  readonly sessions: number
  readonly everyMs: number
  readonly sessionBytes: number
  /** By the monotonic clock of the machine, which all hosts share. */
  readonly startMs: number
  /** From a put to the read on another host. */
  readonly waitMs: number
}

export type Command =
  | { readonly do: 'impair'; readonly impairment: Impairment }
  | { readonly do: 'load'; readonly load: Load }
  | { readonly do: 'missing'; readonly load: Load }
  | { readonly do: 'status' }

export interface LoadResult {
  /** When each of our sessions was put, by its number. */
  readonly putMs: readonly (readonly [number, number])[]
  /** When a session was last looked for in vain, by its number. */
  readonly missMs: readonly (readonly [number, number])[]
  /** When the machine let this process do nothing, from and to. */
  readonly stallsMs: readonly (readonly [number, number])[]
}

export interface HostStatus {
  readonly verifiedPeers: number
  readonly repaired: number
  readonly lost: number
  readonly datagramsSent: number
}

export function monotonicMs(): number {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1000 + nanoseconds / 1e6
}
