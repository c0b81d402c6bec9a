// Gets that came in alone: one whole line, and all that its connection has for this turn. Nearly all are, since a
// terminator asks for one session and waits. They are read where they came in, looked up together and answered without
// their connections' buffers and parsers (measured at 64 connections: four in a hundred more a second).

import { asBuffer } from '../../base/bytes.ts'
import type { Lookup, Lookups } from '../../store/lookups.ts'
import type { Entries } from './entries.ts'
import type { InputMemory } from './input-buffer.ts'
import { type KeyForm, MAX_KEY_BYTES, MIN_SPELLED_BYTES, toSessionKey } from './keys.ts'
import type { ReplyBuffer } from './reply-buffer.ts'

/** `get ` and the end of the line, as the numbers that a DataView reads. */
const VERB = 0x67657420
const LINE_END = 0x0d0a
const VERB_BYTES = 4
const FRAME_BYTES = VERB_BYTES + 2
const END = Buffer.from('END\r\n')

/** Its key is `keyLength` bytes of the input from `keyStart` on. */
export interface LoneGet {
  readonly keyStart: number
  readonly keyLength: number
  readonly form: KeyForm
  readonly lookup: Lookup
}

export class LoneGets {
  readonly #entries: Entries
  readonly #input: InputMemory
  readonly #output: ReplyBuffer
  readonly #lookups: Lookups

  constructor(entries: Entries, input: InputMemory, output: ReplyBuffer) {
    this.#entries = entries
    this.#input = input
    this.#output = output
    this.#lookups = entries.lookupsIn(input.bytes)
  }

  /** Takes the `length` bytes of input from `start` on, if they are a get and there is room. */
  take(start: number, length: number): LoneGet | undefined {
    const { view } = this.#input
    const keyStart = start + VERB_BYTES
    const keyLength = length - FRAME_BYTES
    if (keyLength < 1 || keyLength > MAX_KEY_BYTES) return undefined
    const isGet = view.getInt32(start) === VERB && view.getInt16(keyStart + keyLength) === LINE_END
    if (!isGet || !isWord(view, keyStart, keyLength)) return undefined
    const sessionKey = toSessionKey(this.#input.bytes, keyStart, keyStart + keyLength)
    if (sessionKey === undefined) {
      // It may contain an ID, which takes longer to find out.
      if (keyLength >= MIN_SPELLED_BYTES) return undefined
      const lookup = this.#lookups.add(keyStart, keyLength)
      return lookup === undefined ? undefined : { keyStart, keyLength, form: 'plain', lookup }
    }
    const { id, form } = sessionKey
    if (!this.#input.hasRoomFor(id.length)) return undefined
    const lookup = this.#lookups.add(this.#input.add(asBuffer(id)), id.length)
    return lookup === undefined ? undefined : { keyStart, keyLength, form, lookup }
  }

  /** To be called when all are there, right before they are carried out. */
  find(): void {
    this.#lookups.find()
  }

  /** Returns where the answer begins in the output. */
  carryOut({ keyStart, keyLength, form, lookup }: LoneGet): number {
    const entry = this.#entries.getFound(this.#lookups, lookup, form)
    if (entry !== undefined) {
      return this.#output.onlyValue(this.#input.view, keyStart, keyLength, entry)
    }
    const start = this.#output.length
    this.#output.bytes(END)
    return start
  }

  /** All are carried out. */
  clear(): void {
    this.#lookups.clear()
  }
}

/** Whether there is no space and no control character. */
function isWord(view: DataView, start: number, length: number): boolean {
  const end = start + length
  let at = start
  for (; at + 4 <= end; at += 4) {
    const four = view.getInt32(at)
    // Whether one of four bytes is below 0x21.
    if (((four - 0x21212121) & ~four & 0x80808080) !== 0) return false
  }
  for (; at < end; at += 1) if (view.getUint8(at) < 0x21) return false
  return true
}
