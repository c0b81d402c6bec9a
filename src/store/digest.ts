// The content of a cache as 1024 numbers that two nodes can compare. Each bucket is the exclusive or of one 64-bit hash
// per entry, over its ID, version and kind. Every node computes the same numbers: they are part of the protocol
// (PROTOCOL.md, section 7). The digest finds differences between honest nodes and protects against nobody.
//
// An entry's bucket depends on the time of its change and on the node that made it: changes that one node made within
// 16 ms are in one bucket. Two nodes mostly differ in changes that are in flight, were lost in one burst, or expire
// just now, and all of those come from a few moments. If buckets depended on session IDs, a few thousand such entries
// would make all buckets differ.

export const DIGEST_BUCKETS = 1024
/** Bytes of an encoded digest: two 32-bit numbers per bucket, big endian. */
export const DIGEST_BYTES = DIGEST_BUCKETS * 8

/** Ticks of the version clock per bucket: 16 ms, or 65,536 changes while the clock is ahead and only counts up. */
const CLOCK_TICKS_PER_BUCKET = 2 ** 16

/** The bucket of an entry with this version. */
export function bucketOf(clock: number, origin: number): number {
  // `>>> 0` takes a number modulo 2^32 and cuts off the fraction of the division.
  return mix(((clock / CLOCK_TICKS_PER_BUCKET) >>> 0) ^ (origin >>> 0)) & (DIGEST_BUCKETS - 1)
}

/** The hash of one entry; `compute` overwrites it, so that nothing is allocated per entry. */
export class EntryHash {
  bucket = 0
  low = 0
  high = 0

  /** Computes the hash of an entry whose session ID is the `length` bytes at `start`. */
  compute(
    bytes: Uint8Array,
    start: number,
    length: number,
    clock: number,
    origin: number,
    isTombstone: boolean,
  ): void {
    let low = 0x811c9dc5
    let high = 0x9747b28c
    for (let at = start; at < start + length; at += 1) {
      const byte = bytes[at] ?? 0
      low = Math.imul(low ^ byte, 0x01000193)
      high = Math.imul(high ^ byte, 0x5bd1e995)
    }
    this.bucket = bucketOf(clock, origin)
    low = mix(mix(low) ^ (clock >>> 0))
    high = mix(high ^ (clock / 2 ** 32))
    low = mix(low ^ (origin / 2 ** 32))
    high = mix(high ^ (origin >>> 0))
    low = mix(low ^ high ^ (isTombstone ? 1 : 0))
    this.low = low >>> 0
    this.high = mix(high + low) >>> 0
  }
}

export class Digest {
  readonly #words = new Uint32Array(DIGEST_BUCKETS * 2)

  /** Adds an entry that the digest does not contain, or takes out one that it does. */
  toggle(hash: EntryHash): void {
    const at = hash.bucket * 2
    this.#words[at] = (this.#words[at] ?? 0) ^ hash.low
    this.#words[at + 1] = (this.#words[at + 1] ?? 0) ^ hash.high
  }

  toBytes(): Buffer {
    const bytes = Buffer.allocUnsafe(DIGEST_BYTES)
    for (let index = 0; index < this.#words.length; index += 1) {
      bytes.writeUInt32BE(this.#words[index] ?? 0, index * 4)
    }
    return bytes
  }

  /** The numbers of the buckets in which another encoded digest, DIGEST_BYTES long, differs from this one. */
  differingBuckets(other: Buffer): number[] {
    const differing: number[] = []
    for (let bucket = 0; bucket < DIGEST_BUCKETS; bucket += 1) {
      const isEqual =
        this.#words[bucket * 2] === other.readUInt32BE(bucket * 8) &&
        this.#words[bucket * 2 + 1] === other.readUInt32BE(bucket * 8 + 4)
      if (!isEqual) differing.push(bucket)
    }
    return differing
  }
}

/** The finalizer of MurmurHash3. */
function mix(word: number): number {
  let hash = word
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return hash ^ (hash >>> 16)
}
