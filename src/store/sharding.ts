// Spreads session IDs over shards. An ID has a fingerprint of 30 or 32 bits; divided by the number of shards, its
// remainder is the number of the shard and its quotient the key there, so that both together identify the fingerprint.
//
// One Map of a million keys stalls for 100-230 ms in a single operation while V8 rehashes it, so large
// indexes are cut into shards. Up to 65,536 items one shard is enough.

import { hkdfSync } from 'node:crypto'
import { MAX_KEYSIZE } from './limits.ts'

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

// A 32-bit hash of session IDs under a secret key: without the key nobody can choose IDs that collide more often than
// by chance.
//
// It is the pair-multiply-shift of Thorup ("High Speed Hashing for Integers and Strings", arXiv 1504.06804) in two
// lanes with keys of their own. Each word of four bytes is two numbers of 16 bits, x and y. A lane is, modulo 2^32,
//
//   k0 + k1 * length + the sum over all words of (k2 + x) * (k3 + y), each word with a k2 and k3 of its own
//
// and gives its upper 16 bits. Over all keys, any two different IDs get the same 16 bits of a lane with a probability
// of 2^-16, so the same hash with one of 2^-32, whatever the IDs are: every word meets a key before it meets another
// word. (A hash whose key enters only at its beginning has IDs that collide under every key: a difference in the top
// bit passes a multiplication unchanged, and the next word can take it away.) The products do not depend on each other,
// so the processor computes them at the same time: this is as fast as a chain of one multiplication per word.

/** Bytes of the random seed that a node makes for its indexes. */
export const SEED_BYTES = 32

const WORD_BYTES = 4
/**
 * Keys per word of an ID: two in each of two lanes. The first four keys are for the length, then come those of each
 * word: so the keys of the word that begins at byte n of the ID begin at index n + 4.
 */
const KEYS_PER_WORD = 4
const KEY_WORDS = KEYS_PER_WORD * (1 + Math.ceil(MAX_KEYSIZE / WORD_BYTES))
const KEY_PURPOSE = 'tlscached index of session IDs'

export class KeyedHash {
  readonly #keys: Int32Array

  /** `seed`: at least 16 unpredictable bytes; the key is derived from them. */
  constructor(seed: Uint8Array) {
    const bytes = KEY_WORDS * Int32Array.BYTES_PER_ELEMENT
    this.#keys = new Int32Array(hkdfSync('sha256', seed, '', KEY_PURPOSE, bytes))
  }

  /** The hash of an ID, a signed 32-bit integer. Bytes beyond MAX_KEYSIZE do not matter: no such ID is stored. */
  of(id: Uint8Array): number {
    const keys = this.#keys
    const length = Math.min(id.length, MAX_KEYSIZE)
    let first = seedOf(keys, 0, length)
    let second = seedOf(keys, 2, length)
    let at = 0
    for (; at + WORD_BYTES <= length; at += WORD_BYTES) {
      const x = byte(id, at) | (byte(id, at + 1) << 8)
      const y = byte(id, at + 2) | (byte(id, at + 3) << 8)
      first = (first + product(keys, at + 4, x, y)) | 0
      second = (second + product(keys, at + 6, x, y)) | 0
    }
    if (at < length) {
      let word = 0
      for (let rest = at; rest < length; rest += 1) word |= byte(id, rest) << ((rest - at) * 8)
      first = (first + product(keys, at + 4, word & 0xffff, word >>> 16)) | 0
      second = (second + product(keys, at + 6, word & 0xffff, word >>> 16)) | 0
    }
    return combine(first, second)
  }

  /** Returns what `of` returns for the ID in `idBytes` bytes of the view from `start` on, in two thirds of the time. */
  ofPart(view: DataView, start: number, idBytes: number): number {
    const keys = this.#keys
    const length = Math.min(idBytes, MAX_KEYSIZE)
    let first = seedOf(keys, 0, length)
    let second = seedOf(keys, 2, length)
    let at = 0
    for (; at + WORD_BYTES <= length; at += WORD_BYTES) {
      const word = view.getInt32(start + at, true)
      first = (first + product(keys, at + 4, word & 0xffff, word >>> 16)) | 0
      second = (second + product(keys, at + 6, word & 0xffff, word >>> 16)) | 0
    }
    if (at < length) {
      let word = 0
      for (let rest = at; rest < length; rest += 1) {
        word |= view.getUint8(start + rest) << ((rest - at) * 8)
      }
      first = (first + product(keys, at + 4, word & 0xffff, word >>> 16)) | 0
      second = (second + product(keys, at + 6, word & 0xffff, word >>> 16)) | 0
    }
    return combine(first, second)
  }
}

/** The terms of a lane that depend on the length only; their keys are the two from `at` on. */
function seedOf(keys: Int32Array, at: number, length: number): number {
  return ((keys[at] ?? 0) + Math.imul(keys[at + 1] ?? 0, length)) | 0
}

/** The term of one word; its keys are the two from `at` on. */
function product(keys: Int32Array, at: number, x: number, y: number): number {
  // Without `| 0` V8 adds in floating point, which takes half as long again (measured).
  return Math.imul(((keys[at] ?? 0) + x) | 0, ((keys[at + 1] ?? 0) + y) | 0)
}

/** Joins the upper halves of both lanes: they depend on all bits of the products. */
function combine(first: number, second: number): number {
  return (first & 0xffff0000) | (second >>> 16)
}

function byte(bytes: Uint8Array, at: number): number {
  return bytes[at] ?? 0
}
