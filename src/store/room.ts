// Room for one more entry: which entries give way to it, by number and by memory. Expired ones do before live ones.
//
// Freeing a block helps a block of another size only when a whole page becomes empty: so more than one session may have to
// give way to one of another size than the others, but as many bytes as a page holds at most. The page then serves all
// that come after it.

import type { NewSession } from './admission.ts'
import type { Arena } from './arena.ts'
import type { CacheLimits } from './limits.ts'
import { sessionRecordBytes, tombstoneRecordBytes } from './record.ts'
import type { SessionIndex } from './session-index.ts'

export interface RoomOptions {
  readonly limits: CacheLimits
  readonly index: SessionIndex
  readonly tombstones: SessionIndex
  readonly arena: Arena
  /** Takes out one entry whose lifetime is over, by the exact time or not; false when there is none. */
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
   * Makes room for a session, in the place of the one under its ID in the slot `held` if there is one. Returns that slot,
   * or undefined when there is none or its session had to give way, too; `full` when nothing may.
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

  /** How many more sessions, and how many more removals, find room while nothing gives way; by memory an estimate. */
  get left(): { readonly sessions: number; readonly removals: number } {
    const { limits, index, tombstones, arena } = this.#options
    const most = this.#isBounded ? arena.blocksLeft : limits.items
    return {
      sessions: Math.min(most, limits.items - index.size),
      removals: Math.min(most, limits.items - tombstones.size),
    }
  }

  /** Whether a tombstone for an ID that has none finds room, once what has expired is out where memory is short. */
  hasRoomForTombstone(id: Uint8Array): boolean {
    const { limits, tombstones } = this.#options
    return tombstones.size < limits.items && this.#hasMemoryForTombstone(id)
  }

  /** Makes room for a tombstone, for which a session gives way even where a put would fail: a removal never does. */
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
