// How session IDs are spread: a fingerprint of up to 32 bits of each, the shard that it belongs to (the remainder by
// the number of shards) and its key there (the quotient), which together are the fingerprint again.
//
// One Map of a million keys stalls for 100-230 ms in a single operation while V8 rehashes it, so large
// indexes are cut into shards. Up to 65,536 items one shard is enough.

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
  readonly #seed: number
  /** Bits of the hash that its fingerprint goes without. */
  readonly #unusedBits: number

  /** `seed`: 32 random bits, so that IDs crowd no shard by chance twice. Who may write may still choose IDs that do. */
  constructor(items: number, seed: number) {
    this.count = items <= ONE_SHARD_ITEMS ? 1 : Math.ceil(items / SHARD_ITEMS)
    const mean = items / this.count
    this.itemsPerShard =
      this.count === 1 ? items : Math.ceil(mean + SPREAD_DEVIATIONS * Math.sqrt(mean))
    this.#unusedBits = this.count === 1 ? 32 - ONE_SHARD_FINGERPRINT_BITS : 0
    this.keys = Math.ceil(2 ** (32 - this.#unusedBits) / this.count)
    this.#seed = seed
  }

  /** A signed 32-bit integer: four bytes a step, then the finalizer of MurmurHash3. Never negative in one shard. */
  fingerprint(id: Uint8Array): number {
    const { length } = id
    let hash = this.#seed ^ length
    let at = 0
    for (; at + 4 <= length; at += 4) {
      hash = step(
        hash,
        byte(id, at) |
          (byte(id, at + 1) << 8) |
          (byte(id, at + 2) << 16) |
          (byte(id, at + 3) << 24),
      )
    }
    for (; at < length; at += 1) hash = step(hash, byte(id, at))
    return (finalize(hash) >>> this.#unusedBits) | 0
  }

  /** The same of the ID that is `length` bytes from `start` on: in half the time. */
  fingerprintIn(view: DataView, start: number, length: number): number {
    const end = start + length
    let hash = this.#seed ^ length
    let at = start
    for (; at + 4 <= end; at += 4) hash = step(hash, view.getInt32(at, true))
    for (; at < end; at += 1) hash = step(hash, view.getUint8(at))
    return (finalize(hash) >>> this.#unusedBits) | 0
  }

  shardOf(fingerprint: number): number {
    return this.count === 1 ? 0 : (fingerprint >>> 0) % this.count
  }

  /** A signed 32-bit integer, never negative: below `keys`. */
  keyOf(fingerprint: number): number {
    return this.count === 1 ? fingerprint : ((fingerprint >>> 0) / this.count) | 0
  }
}

function byte(bytes: Uint8Array, at: number): number {
  return bytes[at] ?? 0
}

/** The multiplication alone would carry nothing down from the upper bits. */
function step(hash: number, word: number): number {
  const product = Math.imul(hash ^ word, 0x9e3779b1)
  return product ^ (product >>> 15)
}

function finalize(hash: number): number {
  let mixed = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return mixed ^ (mixed >>> 16)
}
