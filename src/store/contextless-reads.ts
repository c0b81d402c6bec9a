// Reads of a store that compare no session ID context, for protocols that know none: memcached, sessiond and those of
// uWSGI.

import type { Clock } from '../base/world.ts'
import type { Arena } from './arena.ts'
import { type Lookup, Lookups } from './lookups.ts'
import type { RecordReader } from './record.ts'
import type { SessionIndex } from './session-index.ts'
import type { PeekedSession, SessionView } from './session-view.ts'
import type { CacheStats } from './stats.ts'
import type { Version } from './versions.ts'

/** The parts of a store that its reads need. */
export interface ReadParts {
  readonly index: SessionIndex
  readonly arena: Arena
  readonly record: RecordReader
  readonly clock: Clock
  readonly stats: CacheStats
  /** Takes out the expired session with this ID. */
  readonly expire: (id: Uint8Array) => void
}

export class ContextlessReads {
  readonly #index: SessionIndex
  readonly #arena: Arena
  readonly #record: RecordReader
  readonly #clock: Clock
  readonly #stats: CacheStats
  readonly #expire: (id: Uint8Array) => void

  constructor({ index, arena, record, clock, stats, expire }: ReadParts) {
    this.#index = index
    this.#arena = arena
    this.#record = record
    this.#clock = clock
    this.#stats = stats
    this.#expire = expire
  }

  /**
   * Gets the session with this ID whatever its context, for protocols without one; counts the result and makes the
   * session the most recently used. Returns a shared view, which is valid until the next call of this store.
   */
  get(id: Uint8Array, nowMs = this.#clock.monotonicMs()): SessionView | 'miss' | 'expired' {
    const slot = this.#index.use(id)
    const record = slot === undefined ? undefined : this.#record.open(slot)
    const ttlMs = record === undefined ? 0 : record.expiresAtMs - nowMs
    if (record !== undefined && ttlMs > 0) {
      this.#stats.gets.hit += 1
      return record.viewSession(ttlMs)
    }
    const result = record === undefined ? 'miss' : 'expired'
    if (record !== undefined) this.#expire(id)
    this.#stats.gets[result] += 1
    return result
  }

  /** Creates the list in which gets that are carried out together are announced; their IDs are parts of `bytes`. */
  lookupsIn(bytes: Uint8Array): Lookups {
    return new Lookups(bytes, this.#index, this.#arena)
  }

  /** Does what `get` does for an announced ID, in less time when its record is still where `find` saw it. */
  getFound(lookups: Lookups, lookup: Lookup, nowMs: number): SessionView | 'miss' | 'expired' {
    if (lookups.isFound(lookup)) {
      const record = this.#record.openAt(lookup.slot, lookup)
      const ttlMs = record.expiresAtMs - nowMs
      if (ttlMs > 0 && lookups.isIdOf(lookup, record)) {
        this.#index.useSlot(lookup.fingerprint, lookup.slot)
        this.#stats.gets.hit += 1
        return record.viewSession(ttlMs)
      }
    }
    return this.get(lookups.idOf(lookup), nowMs)
  }

  /** The version of the live session under this ID; counts nothing and leaves recency unchanged. */
  versionOf(id: Uint8Array): Version | undefined {
    const slot = this.#index.find(id)
    if (slot === undefined) return undefined
    const record = this.#record.open(slot)
    return record.expiresAtMs > this.#clock.monotonicMs() ? record.version : undefined
  }

  /** The live session under this ID, whatever its context; counts nothing and leaves recency unchanged. */
  peek(id: Uint8Array): PeekedSession | undefined {
    const slot = this.#index.find(id)
    if (slot === undefined) return undefined
    const record = this.#record.open(slot)
    const ttlMs = record.expiresAtMs - this.#clock.monotonicMs()
    if (ttlMs <= 0) return undefined
    return {
      session: record.copySession(),
      ttlMs,
      context: record.copyContext(),
      serverName: record.copyServerName(),
      version: record.version,
    }
  }

  /** ID and context of the least recently used session of the first shard that has any; undefined when none is held. */
  oldest(): { readonly id: Uint8Array; readonly context: Uint8Array } | undefined {
    const slot = this.#index.oldest()
    if (slot === undefined) return undefined
    const record = this.#record.open(slot)
    return { id: record.copyId(), context: record.copyContext() }
  }
}
