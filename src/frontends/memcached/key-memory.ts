// Holds the key of a connection's current get in memory of its own: creating a view of the input for every key would
// take as long as the lookup.

import { MAX_KEY_BYTES } from './keys.ts'

const SPACE = 0x20
const NOTHING = Buffer.alloc(0)

export class KeyMemory {
  #memory = NOTHING
  /** View of the last key, reused for the next one, which nearly always has the same length. */
  #key = NOTHING

  /** Returns the word that begins at `start`, valid until the next call; undefined when it is too long for a key. */
  read(bytes: Buffer, start: number, end: number): Buffer | undefined {
    // Memory is allocated by the first get, since many connections stay idle.
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
