// Where the keys of one shard were found lately: what a translation lookaside buffer is to a page table.
//
// A random lookup in V8's Map costs three cache misses when no cache holds it: bucket, entry and, half the
// time, the next entry. Here it costs one, in a sixth of the memory, and nearly all keys have room
// (measured: a quarter more gets a second at a million items, a fifth more at 20,000). What it holds is
// always what the Map holds, or less.
//
// Sets of four u32, one for each value of the key's lower bits; an entry is, from its upper bits on:
//   the other bits of the key, together with the set all of it
//   1 + place; an entry of 0 is empty

const WAYS = 4
/** Keys of an entry's set on average when the shard is full: few sets then have more than ways. */
const KEYS_PER_SET = 2.5
const ENTRY_BITS = 32

export class PlaceLookaside {
  readonly #setBits: number
  readonly #setMask: number
  readonly #placeBits: number
  readonly #placeMask: number
  readonly #entries: Uint32Array

  /** Keys are below `keys`, at most 2^32, and places below `places`. */
  constructor(keys: number, places: number) {
    this.#placeBits = bitsFor(places + 1)
    const leastSetBits = bitsFor(keys) + this.#placeBits - ENTRY_BITS
    this.#setBits = Math.max(0, bitsFor(places / KEYS_PER_SET), leastSetBits)
    this.#setMask = 2 ** this.#setBits - 1
    this.#placeMask = 2 ** this.#placeBits - 1
    this.#entries = new Uint32Array(2 ** this.#setBits * WAYS)
  }

  /** The key's place, undefined when it is not known here. */
  find(key: number): number | undefined {
    const at = this.#at(key)
    return at === -1 ? undefined : ((this.#entries[at] ?? 0) & this.#placeMask) - 1
  }

  /** Reads the key's set. */
  touch(key: number): number {
    return (this.#entries[this.#firstOf(key)] ?? 0) & 1
  }

  /** Puts in a key that is not known here; the one that its set has held longest gives way. */
  add(key: number, place: number): void {
    const entries = this.#entries
    const first = this.#firstOf(key)
    for (let at = first + WAYS - 1; at > first; at -= 1) entries[at] = entries[at - 1] ?? 0
    entries[first] = ((key >>> this.#setBits) << this.#placeBits) | (place + 1)
  }

  delete(key: number): void {
    const at = this.#at(key)
    if (at !== -1) this.#entries[at] = 0
  }

  #at(key: number): number {
    const entries = this.#entries
    const placeBits = this.#placeBits
    const tag = key >>> this.#setBits
    const first = this.#firstOf(key)
    for (let at = first; at < first + WAYS; at += 1) {
      const entry = entries[at] ?? 0
      if (entry >>> placeBits === tag && entry !== 0) return at
    }
    return -1
  }

  #firstOf(key: number): number {
    return (key & this.#setMask) * WAYS
  }
}

/** Bits that tell so many values apart. */
function bitsFor(values: number): number {
  return Math.ceil(Math.log2(Math.max(1, values)))
}
