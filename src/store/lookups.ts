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

export class Lookups {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #index: SessionIndex
  readonly #arena: Arena
  readonly #starts = new Int32Array(MAX_LOOKUPS)
  readonly #lengths = new Int32Array(MAX_LOOKUPS)
  readonly #fingerprints = new Int32Array(MAX_LOOKUPS)
  readonly #slots = new Int32Array(MAX_LOOKUPS)
  readonly #blocks: readonly BlockCursor[] = Array.from({ length: MAX_LOOKUPS }, () => ({
    page: NO_PAGE,
    start: 0,
  }))
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

  get count(): number {
    return this.#count
  }

  /** Announces a get; fewer than MAX_LOOKUPS are there. Returns its number, from 0 on. */
  add(start: number, length: number): number {
    const number = this.#count
    this.#starts[number] = start
    this.#lengths[number] = length
    const fingerprint = this.#index.fingerprintIn(this.#view, start, length)
    this.#fingerprints[number] = fingerprint
    this.#sum ^= this.#index.touch(fingerprint)
    this.#count += 1
    return number
  }

  /** To be called when all are announced, right before they are carried out. */
  find(): void {
    const count = this.#count
    const index = this.#index
    const arena = this.#arena
    const fingerprints = this.#fingerprints
    const slots = this.#slots
    let sum = this.#sum
    for (let at = 0; at < count; at += 1) {
      const slot = index.slotOf(fingerprints[at] ?? 0) ?? NOWHERE
      slots[at] = slot
      if (slot !== NOWHERE) sum ^= arena.touchLocation(slot)
    }
    for (let at = 0; at < count; at += 1) {
      const slot = slots[at] ?? NOWHERE
      if (slot !== NOWHERE) arena.seek(slot, this.blockOf(at))
    }
    for (let at = 0; at < count; at += 1) {
      const { page, start } = this.blockOf(at)
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
    // Pages that the arena gives back are not kept from here.
    for (let at = 0; at < this.#count; at += 1) this.blockOf(at).page = NO_PAGE
    this.#count = 0
  }

  /** The slot that a session with this fingerprint was found in; undefined when it may not be there any more. */
  slotOf(number: number): number | undefined {
    const slot = this.#slots[number] ?? NOWHERE
    return slot === NOWHERE || this.#changes !== this.#arena.changes ? undefined : slot
  }

  /** Where that slot's block lies. */
  blockOf(number: number): BlockCursor {
    const block = this.#blocks[number]
    if (block === undefined) throw new RangeError('no such get')
    return block
  }

  fingerprintOf(number: number): number {
    return this.#fingerprints[number] ?? 0
  }

  /** Whether the record is of this ID. */
  isIdOf(number: number, record: RecordReader): boolean {
    return record.hasIdIn(this.#view, this.#starts[number] ?? 0, this.#lengths[number] ?? 0)
  }

  /** A view. */
  idOf(number: number): Uint8Array {
    const start = this.#starts[number] ?? 0
    return this.#bytes.subarray(start, start + (this.#lengths[number] ?? 0))
  }
}
