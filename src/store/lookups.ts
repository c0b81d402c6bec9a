// Gets that are carried out together: first all their IDs are announced, then the memory that they will read is brought
// into the processor's cache for all of them at once (prefetched), then each get is carried out. A get waits for memory
// three times, each time to learn where to look next: lookaside, location, record. Here many gets wait for the same of
// these three at the same time (measured with 64 gets at once: four percent more gets per second over TCP).
//
// JavaScript has no instruction for prefetching: bytes are read, and their values do not matter. No step may branch on
// what was just read, or the processor would wait for that read first. So only one bit of each value is kept: for
// larger values V8 would check, by a branch, whether they are small integers.

import { type Arena, type BlockCursor, NO_PAGE } from './arena.ts'
import type { RecordReader } from './record.ts'
import type { SessionIndex } from './session-index.ts'

/** Most gets that are carried out together. */
export const MAX_LOOKUPS = 256

const NOWHERE = -1
/** u32 words in a cache line of the processor, 64 bytes. The records of most sessions take three lines. */
const LINE_WORDS = 16

/** One announced get. `page` and `start` are the block of its slot's record. */
export class Lookup implements BlockCursor {
  /** Offset of the ID in the bytes of its `Lookups`. */
  idStart = 0
  /** Bytes of the ID. */
  idLength = 0
  fingerprint = 0
  /** Slot of the first ID with this fingerprint, which may be another ID's; NOWHERE when there is none. */
  slot = NOWHERE
  page = NO_PAGE
  start = 0
}

/** Never used: it satisfies the compiler, for which an element of an array may be undefined. */
const NONE = new Lookup()

export class Lookups {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #index: SessionIndex
  readonly #arena: Arena
  readonly #all: readonly Lookup[] = Array.from({ length: MAX_LOOKUPS }, () => new Lookup())
  #count = 0
  /** The arena's `changes` at the time of `find`: another value means that blocks may have moved. */
  #changes = 0
  /** Sink for the prefetched values, so that V8 does not remove the reads. */
  #sum = 0

  /** `bytes` is the memory in which the IDs will be announced. */
  constructor(bytes: Uint8Array, index: SessionIndex, arena: Arena) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    this.#index = index
    this.#arena = arena
  }

  /** Announces a get of the ID in `idLength` bytes from `idStart` on; undefined when MAX_LOOKUPS are announced. */
  add(idStart: number, idLength: number): Lookup | undefined {
    const lookup = this.#all[this.#count]
    if (lookup === undefined) return undefined
    this.#count += 1
    const fingerprint = this.#index.fingerprintIn(this.#view, idStart, idLength)
    this.#sum ^= this.#index.touch(fingerprint)
    lookup.idStart = idStart
    lookup.idLength = idLength
    lookup.fingerprint = fingerprint
    return lookup
  }

  /** Prefetches for all announced gets. Called once all are announced, right before they are carried out. */
  find(): void {
    const count = this.#count
    const all = this.#all
    const index = this.#index
    const arena = this.#arena
    let sum = this.#sum
    for (let at = 0; at < count; at += 1) {
      const lookup = all[at] ?? NONE
      const slot = index.slotOf(lookup.fingerprint) ?? NOWHERE
      lookup.slot = slot
      if (slot !== NOWHERE) sum ^= arena.touchLocation(slot)
    }
    for (let at = 0; at < count; at += 1) {
      const lookup = all[at] ?? NONE
      if (lookup.slot !== NOWHERE) arena.seek(lookup.slot, lookup)
    }
    for (let at = 0; at < count; at += 1) {
      const { page, start } = all[at] ?? NONE
      const { words } = page
      const first = start >>> 2
      sum ^= (words[first] ?? 0) & 1
      sum ^= (words[first + LINE_WORDS] ?? 0) & 1
      sum ^= (words[first + 2 * LINE_WORDS] ?? 0) & 1
    }
    this.#changes = arena.changes
    this.#sum = sum
  }

  /** Forgets the announced gets, after all were carried out. */
  clear(): void {
    this.#count = 0
  }

  /** Whether `find` found a slot and no block was allocated or freed since, so that its record is where it was. */
  isFound(lookup: Lookup): boolean {
    return lookup.slot !== NOWHERE && this.#changes === this.#arena.changes
  }

  /** Whether the record is that of the announced ID. */
  isIdOf({ idStart, idLength }: Lookup, record: RecordReader): boolean {
    return record.hasIdIn(this.#view, idStart, idLength)
  }

  /** The announced ID, as a view of the bytes in which it was announced. */
  idOf({ idStart, idLength }: Lookup): Uint8Array {
    return this.#bytes.subarray(idStart, idStart + idLength)
  }
}
