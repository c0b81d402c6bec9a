// How session IDs are spread: a fingerprint of up to 32 bits of each, the shard that it belongs to (the remainder by
// the number of shards) and its key there (the quotient), which together are the fingerprint again.
//
// One Map of a million keys stalls for 100-230 ms in a single operation while V8 rehashes it, so large
// indexes are cut into shards. Up to 65,536 items one shard is enough.

import { KeyedHash } from './keyed-hash.ts'

const ONE_SHARD_ITEMS = 65_536
/**
 * Mean of a larger index's shards. A Map doubles its buckets at powers of two; a little above one, they hold one key each on
 * average instead of two: half a cache miss less in every get. Each shard has objects of its own, which are in no cache
 * when there are hundreds of them: a quarter of the size takes a tenth more for each put at two million (measured), and
 * the longest pauses, which are the collector's, are as long.
 */
const SHARD_ITEMS = 36_000

/** Shards share the items by a seeded hash, so that their sizes differ by chance only: one grows beyond
 * its mean by 12 standard deviations less often than once in 10^30 fillings. */
const SPREAD_DEVIATIONS = 12

/** In one shard the key is all of the fingerprint, and has to leave room for a place in an entry of a lookaside. */
const ONE_SHARD_FINGERPRINT_BITS = 30

export class Sharding {
  readonly count: number
  /** Room that a shard needs for `items` in all. */
  readonly itemsPerShard: number
  /** How many keys a shard may see. */
  readonly keys: number
  readonly #hash: KeyedHash
  /** Bits of the hash that its fingerprint goes without. */
  readonly #unusedBits: number

  /** `seed`: at least 16 unpredictable bytes, so that nobody can choose IDs that crowd a shard or share fingerprints. */
  constructor(items: number, seed: Uint8Array) {
    this.count = items <= ONE_SHARD_ITEMS ? 1 : Math.ceil(items / SHARD_ITEMS)
    const mean = items / this.count
    this.itemsPerShard =
      this.count === 1 ? items : Math.ceil(mean + SPREAD_DEVIATIONS * Math.sqrt(mean))
    this.#unusedBits = this.count === 1 ? 32 - ONE_SHARD_FINGERPRINT_BITS : 0
    this.keys = Math.ceil(2 ** (32 - this.#unusedBits) / this.count)
    this.#hash = new KeyedHash(seed)
  }

  /** The fingerprint of an ID: a signed 32-bit integer, never negative in one shard. */
  fingerprint(id: Uint8Array): number {
    return (this.#hash.of(id) >>> this.#unusedBits) | 0
  }

  /** What `fingerprint` returns for the ID that is `length` bytes of the view from `start` on, in less time. */
  fingerprintIn(view: DataView, start: number, length: number): number {
    return (this.#hash.ofPart(view, start, length) >>> this.#unusedBits) | 0
  }

  shardOf(fingerprint: number): number {
    return this.count === 1 ? 0 : (fingerprint >>> 0) % this.count
  }

  /** A signed 32-bit integer, never negative: below `keys`. */
  keyOf(fingerprint: number): number {
    return this.count === 1 ? fingerprint : ((fingerprint >>> 0) / this.count) | 0
  }
}
