// Makes room for one more entry, by number and by memory: takes out expired entries first, then evicts live ones.
//
// A freed block makes room for a block of another size only when its whole page becomes empty. So a session of a new
// size may evict several sessions, but at most as many bytes as a page holds; the sessions after it then share that
// page.

import { asBuffer } from '../base/bytes.ts'
import type { Arena } from './arena.ts'
import { type CacheLimits, MAX_CONTEXT_BYTES, MAX_SERVER_NAME_BYTES } from './limits.ts'
import { sessionRecordBytes, tombstoneRecordBytes } from './record.ts'
import type { SessionIndex } from './session-index.ts'
import type { RefusalReason } from './stats.ts'

export interface RoomOptions {
  readonly limits: CacheLimits
  readonly index: SessionIndex
  readonly tombstones: SessionIndex
  readonly arena: Arena
  /** Takes out one expired entry; false when there is none. Without `isExact` those of the last moments are left. */
  readonly sweepOne: (isExact: boolean) => boolean
}

export class Room {
  readonly #options: RoomOptions
  readonly #index: SessionIndex
  readonly #items: number
  readonly #isBounded: boolean

  constructor(options: RoomOptions) {
    this.#options = options
    this.#index = options.index
    this.#items = options.limits.items
    this.#isBounded = options.arena.isBounded
  }

  /**
   * Makes room for a session, which replaces the one in the slot `held` if its ID has one. Returns that slot; undefined
   * when there is none or its session was taken out, too; `full` when there is no room and nothing may be evicted.
   */
  forSession(
    entry: NewSession,
    held: number | undefined,
    mayEvict: boolean,
  ): number | undefined | 'full' {
    const hasRoom = held !== undefined || this.#index.size < this.#items
    return hasRoom && !this.#isBounded ? held : this.#make(entry, held, mayEvict)
  }

  #make(
    entry: NewSession,
    held: number | undefined,
    mayEvict: boolean,
  ): number | undefined | 'full' {
    const { limits, index, arena, sweepOne } = this.#options
    const isExact = limits.full === 'refuse' || !mayEvict
    const bytes = this.#isBounded ? sessionRecordBytes(entry) : 0
    let slot = held
    while (
      (slot === undefined && index.size === limits.items) ||
      (this.#isBounded && !arena.hasRoomFor(bytes, slot))
    ) {
      if (!sweepOne(isExact)) {
        if (isExact) return 'full'
        this.#evictFor(entry.id)
      }
      if (slot !== undefined) slot = index.find(entry.id)
    }
    return slot
  }

  /** How many more sessions or removals fit in before anything is evicted; an estimate when memory is limited. */
  get left(): { readonly sessions: number; readonly removals: number } {
    const { limits, index, tombstones, arena } = this.#options
    const most = this.#isBounded ? arena.blocksLeft : limits.items
    return {
      sessions: Math.min(most, limits.items - index.size),
      removals: Math.min(most, limits.items - tombstones.size),
    }
  }

  /** Whether a tombstone for a new ID fits in without eviction; takes out expired entries where memory is short. */
  hasRoomForTombstone(id: Uint8Array): boolean {
    const { limits, tombstones } = this.#options
    return tombstones.size < limits.items && this.#hasMemoryForTombstone(id)
  }

  /** Makes room in memory for a tombstone. A removal never fails: it may evict a session even with `full: refuse`. */
  forTombstone(id: Uint8Array): void {
    const { limits, tombstones } = this.#options
    while (!this.#hasMemoryForTombstone(id)) {
      if (limits.full === 'refuse' && tombstones.size > 0) tombstones.evictFor(id)
      else this.#evictFor(id)
    }
  }

  #hasMemoryForTombstone(id: Uint8Array): boolean {
    const { arena, sweepOne } = this.#options
    while (this.#isBounded && !arena.hasRoomFor(tombstoneRecordBytes(id.length))) {
      if (!sweepOne(true)) return false
    }
    return true
  }

  #evictFor(id: Uint8Array): void {
    const { index, tombstones } = this.#options
    if (index.size > 0) index.evictFor(id)
    else tombstones.evictFor(id)
  }
}

// Decides whether a cache accepts a session at all: checks its limits before anything is evicted.

export interface NewSession {
  readonly id: Uint8Array
  readonly context: Uint8Array
  /** Server name (SNI); empty when the client named none. */
  readonly serverName: string
  readonly session: Uint8Array
  /** Lifetime asked for; the cache's timeout caps it. */
  readonly ttlMs: number
}

/** The limits that one session can be checked against without looking at the store. */
export type AdmissionLimits = Pick<CacheLimits, 'keysize' | 'blocksize' | 'contexts'>

export class Admission {
  readonly #limits: AdmissionLimits
  readonly #contexts: ReadonlySet<string> | undefined

  constructor(limits: AdmissionLimits) {
    this.#limits = limits
    this.#contexts = limits.contexts && new Set(limits.contexts.map(keyOf))
  }

  /** The reason for which this session is refused; undefined when it is accepted. */
  refusalOf(entry: NewSession): RefusalReason | undefined {
    const { keysize, blocksize } = this.#limits
    const { id, context, session } = entry
    if (id.length === 0 || id.length > keysize) return 'keysize'
    if (session.length === 0 || session.length > blocksize) return 'blocksize'
    if (context.length > MAX_CONTEXT_BYTES) return 'context'
    if (this.#contexts !== undefined && !this.#contexts.has(keyOf(context))) return 'context'
    // Most server names are empty: no native code is called for those.
    const nameBytes = entry.serverName === '' ? 0 : Buffer.byteLength(entry.serverName)
    if (nameBytes > MAX_SERVER_NAME_BYTES) return 'context'
    // This form of the comparison refuses NaN, too.
    if (!(entry.ttlMs > 0)) return 'expired'
    return undefined
  }
}

/** The bytes as text, one character per byte, for use as a key. */
function keyOf(bytes: Uint8Array): string {
  return asBuffer(bytes).toString('latin1')
}
