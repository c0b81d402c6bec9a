// The versions of a store's entries by bucket of its digest. One walk over the store finds the entries of every bucket,
// so that comparing many buckets, a few at a time, does not cost a walk each time.

import { DIGEST_BUCKETS } from '../../store/digest.ts'
import type { SessionStore } from '../../store/session-store.ts'
import type { EntryVersion, StoredEntries } from '../../store/stored-entries.ts'
import type { Pacer } from './stream.ts'

/** Slots walked between two looks at the clock. */
const SLOTS_PER_LOOK = 64

export class BucketedVersions {
  readonly #entries: StoredEntries
  readonly #pacer: Pacer
  /** Slots ordered by bucket: those of bucket b are at #starts[b] to #starts[b + 1] - 1. 4 bytes per entry. */
  readonly #slots: Uint32Array
  readonly #starts: Uint32Array

  private constructor(
    entries: StoredEntries,
    pacer: Pacer,
    slots: Uint32Array,
    starts: Uint32Array,
  ) {
    this.#entries = entries
    this.#pacer = pacer
    this.#slots = slots
    this.#starts = starts
  }

  /** Walks over the store in turns of the pacer; entries added during the walk may be left out. */
  static async of({ entries, stats }: SessionStore, pacer: Pacer): Promise<BucketedVersions> {
    const most = stats.items + stats.tombstones
    const slots = new Uint32Array(most)
    const buckets = new Uint16Array(most)
    const ends = new Uint32Array(DIGEST_BUCKETS + 1)
    let count = 0
    for (const slot of entries.slots()) {
      if (count % SLOTS_PER_LOOK === 0 && pacer.isOver) await pacer.pause()
      const bucket = entries.bucketAt(slot)
      if (bucket === undefined) continue
      if (count === most) break
      slots[count] = slot
      buckets[count] = bucket
      ends[bucket + 1] = (ends[bucket + 1] ?? 0) + 1
      count += 1
    }
    for (let bucket = 0; bucket < DIGEST_BUCKETS; bucket += 1) {
      ends[bucket + 1] = (ends[bucket + 1] ?? 0) + (ends[bucket] ?? 0)
    }
    // A counting sort: from the last slot to the first, the end of each bucket moves down to its start.
    const starts = ends.slice()
    const sorted = new Uint32Array(count)
    for (let index = count - 1; index >= 0; index -= 1) {
      if (index % SLOTS_PER_LOOK === 0 && pacer.isOver) await pacer.pause()
      const next = (buckets[index] ?? 0) + 1
      const at = (ends[next] ?? 0) - 1
      ends[next] = at
      sorted[at] = slots[index] ?? 0
    }
    return new BucketedVersions(entries, pacer, sorted, starts)
  }

  /** Entries in a bucket at the time of the walk. */
  countIn(bucket: number): number {
    return (this.#starts[bucket + 1] ?? 0) - (this.#starts[bucket] ?? 0)
  }

  /** Yields the present entries of these buckets, without those added since the walk; in turns of the pacer. */
  async *in(buckets: Iterable<number>): AsyncGenerator<EntryVersion> {
    const pacer = this.#pacer
    for (const bucket of buckets) {
      const end = this.#starts[bucket + 1] ?? 0
      for (let at = this.#starts[bucket] ?? 0; at < end; at += 1) {
        if (at % SLOTS_PER_LOOK === 0 && pacer.isOver) await pacer.pause()
        const version = this.#entries.versionAt(this.#slots[at] ?? 0, bucket)
        if (version !== undefined) yield version
      }
    }
  }
}
