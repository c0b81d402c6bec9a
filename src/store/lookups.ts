// Gets that are carried out together: their IDs are announced, what they will read is brought into the processor's
// cache for all of them at once, then each is found where it was seen to lie. A get waits for memory three times, each
// time for what tells it where to look next: lookaside, location, record. Here many wait for each of these at the same
// time (measured: 64 gets at once, four in a hundred more a second over TCP).
//
// JavaScript has no instruction for this: bytes are read, and what they are does not matter. No step decides by what
// another ID's step has just read, or the processor would wait for that first: so one bit of it is kept, where V8 would
// look at more whether it is a small integer.

import { type Arena, type BlockCursor, NO_PAGE } from './arena.ts'
import type { RecordReader } from './record.ts'
import type { SessionIndex } from './session-index.ts'

/** Most of them at once. */
export const MAX_LOOKUPS = 256

const NOWHERE = -1
/** A line of the processor's cache: 64 bytes. Most sessions lie in three of them. */
const LINE_WORDS = 16

/** One of these gets. The block is where its slot's session lies. */
export class Lookup implements BlockCursor {
  /** The ID is `idLength` bytes from here on. */
  idStart = 0
  idLength = 0
  fingerprint = 0
  /** Of the first ID with this fingerprint. */
  slot = NOWHERE
  page = NO_PAGE
  start = 0
}

/** For the compiler only: there is always one. */
const NONE = new Lookup()

export class Lookups {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #index: SessionIndex
  readonly #arena: Arena
  readonly #all: readonly Lookup[] = Array.from({ length: MAX_LOOKUPS }, () => new Lookup())
  #count = 0
  /** Of the arena, when slots were found. */
  #changes = 0
  /** Of all that was read: without a use for it the compiler would leave it out. */
  #sum = 0

  /** `bytes`: where the IDs lie. */
  constructor(bytes: Uint8Array, index: SessionIndex, arena: Arena) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    this.#index = index
    this.#arena = arena
  }

  /** Announces a get of the ID that is `idLength` bytes from `idStart` on; undefined when there are as many as may be. */
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

  /** To be called when all are announced, right before they are carried out. */
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

  /** All are carried out. */
  clear(): void {
    this.#count = 0
  }

  /** Whether a slot was found, and its block is still there. */
  isFound(lookup: Lookup): boolean {
    return lookup.slot !== NOWHERE && this.#changes === this.#arena.changes
  }

  /** Whether the record is of this ID. */
  isIdOf({ idStart, idLength }: Lookup, record: RecordReader): boolean {
    return record.hasIdIn(this.#view, idStart, idLength)
  }

  /** A view. */
  idOf({ idStart, idLength }: Lookup): Uint8Array {
    return this.#bytes.subarray(idStart, idStart + idLength)
  }
}
