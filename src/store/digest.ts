// What a cache holds, in 1024 numbers that two nodes can compare. Each bucket is the exclusive or of a 64-bit
// hash per entry over ID, version and kind. The same on every node, so part of the protocol (PROTOCOL.md,
// section 7). It finds differences between honest nodes and protects nothing.
//
// Entries are spread by the time of their change and its node: what one node changed in 16 ms lies together.
// Two nodes mostly differ in what is on its way, was lost in one burst, or expires just now, all of which is
// of a few moments. By session ID a few thousand such entries would be in every bucket.

export const DIGEST_BUCKETS = 1024
/** Two numbers of 32 bits a bucket, big endian. */
export const DIGEST_BYTES = DIGEST_BUCKETS * 8

/** Of the version clock (version-clock.ts): 16 ms, or as many changes where a clock far ahead made it only count. */
const CLOCK_TICKS_PER_BUCKET = 2 ** 16

/** The bucket of an entry with this version. */
export function bucketOf(clock: number, origin: number): number {
  // `>>> 0` takes a safe integer modulo 2^32, and what it is to be divided by is cut off.
  return mix(((clock / CLOCK_TICKS_PER_BUCKET) >>> 0) ^ (origin >>> 0)) & (DIGEST_BUCKETS - 1)
}

/** The hash of one entry; set by `compute` so that nothing is allocated per entry. */
export class EntryHash {
  bucket = 0
  low = 0
  high = 0

  /** The session ID is `length` bytes at `start`. */
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

  /** Puts an entry in that is not there, or takes out one that is. */
  toggle(hash: EntryHash): void {
    const at = hash.bucket * 2
    this.#words[at] = (this.#words[at] ?? 0) ^ hash.low
    this.#words[at + 1] = (this.#words[at + 1] ?? 0) ^ hash.high
  }

  toBytes(): Buffer {
    const bytes = Buffer.allocUnsafe(DIGEST_BYTES)
    for (const [index, word] of this.#words.entries()) bytes.writeUInt32BE(word, index * 4)
    return bytes
  }

  /** The buckets in which another digest, DIGEST_BYTES long, is different. */
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
