// The key of the get that a connection asks for, in memory of its own: a view of where it came in would have to be made
// for each, which takes as long as looking it up.

import { MAX_KEY_BYTES } from './keys.ts'

const SPACE = 0x20
const NOTHING = Buffer.alloc(0)

export class KeyMemory {
  #memory = NOTHING
  /** Of the last key: the next one nearly always is as long. */
  #key = NOTHING

  /** The word that begins at `start`, until the next call; undefined when it is too long for a key. */
  read(bytes: Buffer, start: number, end: number): Buffer | undefined {
    // Not before the first get: many a connection is idle.
    if (this.#memory === NOTHING) this.#memory = Buffer.allocUnsafe(MAX_KEY_BYTES)
    const memory = this.#memory
    let length = 0
    for (let at = start; at < end && bytes[at] !== SPACE; at += 1) {
      if (length === MAX_KEY_BYTES) return undefined
      memory[length] = bytes[at] ?? 0
      length += 1
    }
    if (this.#key.length !== length) this.#key = memory.subarray(0, length)
    return this.#key
  }
}
