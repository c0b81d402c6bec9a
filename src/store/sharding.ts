// Spreads session IDs over shards. An ID has a fingerprint of 30 or 32 bits; divided by the number of shards, its
// remainder is the number of the shard and its quotient the key there, so that both together identify the fingerprint.
//
// One Map of a million keys stalls for 100-230 ms in a single operation while V8 rehashes it, so large
// indexes are cut into shards. Up to 65,536 items one shard is enough.

import { KeyedHash } from './keyed-hash.ts'

const ONE_SHARD_ITEMS = 65_536
/**
 * Mean number of items per shard of a larger index. A Map doubles its buckets at powers of two; a little above a power,
 * a bucket holds one key on average instead of two: half a cache miss less in every get. Each shard has objects of its
 * own, which no cache of the processor holds when there are hundreds of shards: with shards of a quarter of this size a
 * put into two million items takes a tenth longer (measured), and the longest pauses, those of the garbage collector,
 * are not shorter.
 */
const SHARD_ITEMS = 36_000

/**
 * Room of a shard above its mean. A seeded hash spreads the items, so the sizes of shards differ by chance only: one
 * exceeds its mean by 12 standard deviations less often than once in 10^30 fillings.
 */
const SPREAD_DEVIATIONS = 12

/** With one shard the key is the whole fingerprint, which must leave room for a place in an entry of the lookaside. */
const ONE_SHARD_FINGERPRINT_BITS = 30

export class Sharding {
  readonly count: number
  /** Slots of each shard: its share of the items and, with several shards, room for chance. */
  readonly itemsPerShard: number
  /** The keys of a shard are integers below this one. */
  readonly keys: number
  readonly #hash: KeyedHash
  /** Bits of the hash that are left out of the fingerprint. */
  readonly #unusedBits: number

  /**
   * `seed`: at least 16 unpredictable bytes, so that nobody can choose IDs that crowd a shard or share fingerprints.
   */
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

  /** Returns what `fingerprint` returns for the ID in `length` bytes of the view from `start` on, in less time. */
  fingerprintIn(view: DataView, start: number, length: number): number {
    return (this.#hash.ofPart(view, start, length) >>> this.#unusedBits) | 0
  }

  shardOf(fingerprint: number): number {
    return this.count === 1 ? 0 : (fingerprint >>> 0) % this.count
  }

  /** The fingerprint's key in its shard: an integer from 0 to below `keys`. */
  keyOf(fingerprint: number): number {
    return this.count === 1 ? fingerprint : ((fingerprint >>> 0) / this.count) | 0
  }
}
