// What a store holds, tombstones included, for nodes that compare themselves with this one: the digest,
// and every entry one by one. The store may change between two steps of a walk.

import type { Clock } from '../base/clock.ts'
import type { Arena } from './arena.ts'
import type { Change, Version } from './change.ts'
import { Digest, EntryHash } from './digest.ts'
import type { Expiry } from './expiry.ts'
import { RecordReader } from './record.ts'

/** What is so close to its end is not worth being told: nodes would pass it to and fro as it expires. */
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
  /** The slot of a session or tombstone. */
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

  /** To be called when an entry was written, and again before it goes. */
  toggle(slot: number): void {
    this.#record.open(slot).hashInto(this.#hash)
    this.digest.toggle(this.#hash)
  }

  /**
   * Every entry's slot, those that live longest first. What is added during the walk may be left out;
   * each slot is good for one call below, which looks whether it is still in use.
   */
  *slots(): Generator<number> {
    for (const slots of this.#options.expiry.newestFirst()) yield* slots
  }

  /** The whole entry with its own copy of the bytes; undefined when its time is as good as over. */
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

  /** The bucket of the digest that an entry is in; undefined when its time is as good as over. */
  bucketAt(slot: number): number | undefined {
    return this.#openIfLive(slot) === undefined ? undefined : this.#record.bucket
  }

  /** ID and version, when there still is an entry of this bucket in the slot. */
  versionAt(slot: number, bucket: number): EntryVersion | undefined {
    if (this.bucketAt(slot) !== bucket) return undefined
    const { version, isTombstone } = this.#record
    return { id: this.#record.copyId(), version, isTombstone }
  }

  /** Of a session or a tombstone, however old. */
  versionOf(id: Uint8Array): Version | undefined {
    const slot = this.#options.find(id)
    return slot === undefined ? undefined : this.#record.open(slot).version
  }

  /** Opens the record and returns what is left of its lifetime. */
  #openIfLive(slot: number): number | undefined {
    const { arena, clock } = this.#options
    if (!arena.isUsed(slot)) return undefined
    const ttlMs = this.#record.open(slot).expiresAtMs - clock.monotonicMs()
    return ttlMs < MIN_TOLD_TTL_MS ? undefined : ttlMs
  }
}
