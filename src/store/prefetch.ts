// What the gets that come next will read, brought into the processor's cache for all of them together. A get waits for
// memory three times, each time for what tells it where to look next: lookaside, location, record. Here many wait for
// each of these at the same time (measured: 64 gets at once, four in a hundred more a second over TCP).
//
// JavaScript has no instruction for this: bytes are read, and what they are does not matter. No step decides by what
// another ID's step has just read, or the processor would wait for that first: so `touch..` give a bit of it, where V8
// would look at more whether it is a small integer.

import type { Arena } from './arena.ts'
import type { SessionIndex } from './session-index.ts'

/** What is announced beyond that comes without. */
const MAX_IDS = 256

export class Prefetch {
  readonly #index: SessionIndex
  readonly #arena: Arena
  readonly #fingerprints = new Int32Array(MAX_IDS)
  readonly #slots = new Uint32Array(MAX_IDS)
  #count = 0
  /** Of all that was read: without a use for it the compiler would leave it out. */
  #sum = 0

  constructor(index: SessionIndex, arena: Arena) {
    this.#index = index
    this.#arena = arena
  }

  /** Announces a get of this ID. */
  add(id: Uint8Array): void {
    if (this.#count === MAX_IDS) return
    this.#fingerprints[this.#count] = this.#index.fingerprint(id)
    this.#count += 1
  }

  /** To be called when all are announced, right before they are carried out. */
  run(): void {
    let sum = this.#sum
    for (let at = 0; at < this.#count; at += 1) {
      sum ^= this.#index.touch(this.#fingerprints[at] ?? 0)
    }
    let found = 0
    for (let at = 0; at < this.#count; at += 1) {
      const slot = this.#index.slotOf(this.#fingerprints[at] ?? 0)
      if (slot === undefined) continue
      this.#slots[found] = slot
      found += 1
      sum ^= this.#arena.touchLocation(slot)
    }
    for (let at = 0; at < found; at += 1) sum ^= this.#arena.touchBlock(this.#slots[at] ?? 0)
    this.#count = 0
    this.#sum = sum
  }
}
