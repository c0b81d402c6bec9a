// The entries that a store holds, tombstones included, for comparison with other nodes: as a digest, and one by one.
// The store may change between two steps of a walk.

import type { Clock } from '../base/world.ts'
import type { Arena } from './arena.ts'
import { Digest, EntryHash } from './digest.ts'
import type { Expiry } from './expiry.ts'
import { RecordReader } from './record.ts'
import type { Change, Version } from './versions.ts'

/**
 * Entries with less lifetime left are not offered to other nodes, or nodes would pass them to and fro as they expire.
 */
export const MIN_TOLD_TTL_MS = 1000

export interface EntryVersion {
  readonly id: Buffer
  readonly version: Version
  readonly isTombstone: boolean
}

export interface StoredEntriesOptions {
  readonly cache: string
  readonly arena: Arena
  readonly expiry: Expiry
  readonly clock: Clock
  /** The slot of the session or tombstone with this ID. */
  readonly find: (id: Uint8Array) => number | undefined
}

export class StoredEntries {
  readonly digest = new Digest()
  readonly #options: StoredEntriesOptions
  readonly #record: RecordReader
  readonly #hash = new EntryHash()

  constructor(options: StoredEntriesOptions) {
    this.#options = options
    this.#record = new RecordReader(options.arena)
  }

  /** Adds a newly written entry to the digest; called a second time, before its block is freed, it takes it out. */
  toggle(slot: number): void {
    this.#record.open(slot).hashInto(this.#hash)
    this.digest.toggle(this.#hash)
  }

  /**
   * The slots of all entries, those that expire last first. Entries added during the walk may be left out. A slot may
   * have become free by the time it is used: then `changeAt`, `bucketAt` and `versionAt` return undefined.
   */
  *slots(): Generator<number> {
    for (const slots of this.#options.expiry.newestFirst()) yield* slots
  }

  /** The entry in this slot, with a copy of its bytes; undefined when it has less than MIN_TOLD_TTL_MS left. */
  changeAt(slot: number): Change | undefined {
    const ttlMs = this.#openIfLive(slot)
    if (ttlMs === undefined) return undefined
    const record = this.#record
    const { version } = record
    const { cache } = this.#options
    const id = record.copyId()
    if (record.isTombstone) return { kind: 'remove', cache, id, ttlMs, version }
    const ageMs = Math.max(0, Math.floor(record.lifetimeMs - ttlMs))
    const context = record.copyContext()
    const serverName = record.copyServerName()
    return {
      kind: 'put',
      cache,
      id,
      context,
      serverName,
      session: record.copySession(),
      ttlMs,
      ...(ageMs === 0 ? {} : { ageMs }),
      version,
    }
  }

  changeOf(id: Uint8Array): Change | undefined {
    const slot = this.#options.find(id)
    return slot === undefined ? undefined : this.changeAt(slot)
  }

  /** The ID of the entry in this slot; undefined when it has less than MIN_TOLD_TTL_MS left. */
  idAt(slot: number): Buffer | undefined {
    return this.#openIfLive(slot) === undefined ? undefined : this.#record.copyId()
  }

  /** The digest's bucket of the entry in this slot; undefined when it has less than MIN_TOLD_TTL_MS left. */
  bucketAt(slot: number): number | undefined {
    return this.#openIfLive(slot) === undefined ? undefined : this.#record.bucket
  }

  /** ID and version of the entry in this slot; undefined when it is not in this bucket or about to expire. */
  versionAt(slot: number, bucket: number): EntryVersion | undefined {
    if (this.bucketAt(slot) !== bucket) return undefined
    const { version, isTombstone } = this.#record
    return { id: this.#record.copyId(), version, isTombstone }
  }

  /** The version of the session or tombstone with this ID, also of an expired one that was not swept yet. */
  versionOf(id: Uint8Array): Version | undefined {
    const slot = this.#options.find(id)
    return slot === undefined ? undefined : this.#record.open(slot).version
  }

  /** Opens the record and returns its remaining lifetime; undefined when it has less than MIN_TOLD_TTL_MS left. */
  #openIfLive(slot: number): number | undefined {
    const { arena, clock } = this.#options
    if (!arena.isUsed(slot)) return undefined
    const ttlMs = this.#record.open(slot).expiresAtMs - clock.monotonicMs()
    return ttlMs < MIN_TOLD_TTL_MS ? undefined : ttlMs
  }
}
