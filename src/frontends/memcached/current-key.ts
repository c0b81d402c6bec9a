// The key of the command that is being carried out, in memory of its own: a view of where it came in would have to be
// made for each, which takes as long as looking it up.

import { MAX_KEY_BYTES } from './keys.ts'

const SPACE = 0x20
const MEMORY = Buffer.alloc(MAX_KEY_BYTES)
/** By length. */
const VIEWS = Array.from({ length: MAX_KEY_BYTES + 1 }, (_view, length) =>
  MEMORY.subarray(0, length),
)

/** The word that begins at `start`, in the same memory each time; undefined when it is too long for a key. */
export function readCurrentKey(bytes: Buffer, start: number, end: number): Buffer | undefined {
  let length = 0
  for (let at = start; at < end && bytes[at] !== SPACE; at += 1) {
    if (length === MAX_KEY_BYTES) return undefined
    MEMORY[length] = bytes[at] ?? 0
    length += 1
  }
  return VIEWS[length]
}
