// Notes what happens to a few sessions that somebody follows by the beginning of their IDs, for a short time. Nothing is
// noted otherwise: the paths of gets and puts then look at one boolean.

import type { Clock } from '../base/world.ts'
import type { GetResult, PutResult } from './stats.ts'
import type { Change, Origin } from './versions.ts'

/** Beginnings of IDs that are followed at the same time; the oldest gives way. */
export const MAX_FOLLOWED = 8
/** Events kept of each; the oldest give way. */
export const MAX_EVENTS = 256
/** Longest time that one call has a session followed. */
export const MAX_FOLLOW_MS = 60_000

export interface FollowedEvent {
  /** Counts the events of this following, from 1 on. */
  readonly number: number
  /** On the monotonic clock. */
  readonly atMs: number
  readonly cache: string
  readonly what: 'get' | 'put' | 'remove' | Ending
  readonly result: GetResult | PutResult | 'done'
  /** Where the call came from: a caller of this node, or a peer; `node` when the session left without a call. */
  readonly by: Origin | 'node'
  /** Origin of the version, of a change; see `originOf`. */
  readonly origin: number | undefined
}

/** How a session leaves a cache by itself: pushed out to make room, or at the end of its lifetime. */
export type Ending = 'evict' | 'expire'

interface Following {
  readonly prefix: Buffer
  readonly events: FollowedEvent[]
  count: number
  untilMs: number
}

export class Followed {
  /** Whether any session is followed. */
  isActive = false
  readonly #clock: Clock
  #all: Following[] = []

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Follows all sessions whose IDs begin so, for MAX_FOLLOW_MS at most; what was noted before stays. */
  follow(prefix: Uint8Array, durationMs: number): void {
    const nowMs = this.#clock.monotonicMs()
    this.#forgetOld(nowMs)
    const untilMs = nowMs + Math.min(durationMs, MAX_FOLLOW_MS)
    const known = this.#of(prefix)
    if (known === undefined)
      this.#all.push({ prefix: Buffer.from(prefix), events: [], count: 0, untilMs })
    else known.untilMs = Math.max(known.untilMs, untilMs)
    if (this.#all.length > MAX_FOLLOWED) this.#all.shift()
    this.isActive = true
  }

  /** Notes an event of this session if it is followed; to be called only while `isActive`. */
  note(id: Uint8Array, event: Omit<FollowedEvent, 'atMs' | 'number'>): void {
    const atMs = this.#clock.monotonicMs()
    this.#forgetOld(atMs)
    for (const one of this.#all) {
      if (!isBegun(id, one.prefix)) continue
      one.count += 1
      one.events.push({ number: one.count, atMs, ...event })
      if (one.events.length > MAX_EVENTS) one.events.shift()
    }
  }

  /** Notes a change that was made; to be called only while `isActive`. */
  noteChange({ id, cache, kind: what, version }: Change, by: Origin): void {
    this.note(id, { cache, what, result: 'done', by, origin: version.origin })
  }

  /** Notes that a session left its cache by itself; to be called only while `isActive`. */
  noteEnding(id: Uint8Array, cache: string, what: Ending): void {
    this.note(id, { cache, what, result: 'done', by: 'node', origin: undefined })
  }

  /** What was noted of the sessions whose IDs begin so, the oldest first. */
  eventsOf(prefix: Uint8Array): readonly FollowedEvent[] {
    this.#forgetOld(this.#clock.monotonicMs())
    return this.#of(prefix)?.events ?? []
  }

  #of(prefix: Uint8Array): Following | undefined {
    return this.#all.find((one) => one.prefix.equals(prefix))
  }

  #forgetOld(nowMs: number): void {
    if (this.#all.every(({ untilMs }) => untilMs > nowMs)) return
    this.#all = this.#all.filter(({ untilMs }) => untilMs > nowMs)
    this.isActive = this.#all.length > 0
  }
}

export function isBegun(id: Uint8Array, prefix: Uint8Array): boolean {
  return id.length >= prefix.length && prefix.every((byte, at) => byte === id[at])
}
