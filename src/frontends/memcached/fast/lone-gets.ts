// Gets that came in alone: one whole line, which is all the input of its connection in this turn. Nearly all gets are
// such, since a terminator asks for one session and waits. They are read from the shared input, looked up together and
// answered without the buffers and parsers of their connections (measured at 64 connections: 4 % more gets a second).

import { asBuffer } from '../../../base/bytes.ts'
import type { Lookup, Lookups } from '../../../store/lookups.ts'
import type { InputMemory } from '../../input-buffer.ts'
import type { Entries } from '../entries.ts'
import { type KeyForm, MAX_KEY_BYTES, MIN_SPELLED_BYTES, toSessionKey } from '../keys.ts'
import type { TicketKeys } from '../ticket-keys.ts'
import type { ReplyBuffer } from './reply-buffer.ts'

/** `get ` and the line end, as the numbers that a DataView reads. */
const VERB = 0x67657420
const LINE_END = 0x0d0a
const VERB_BYTES = 4
const FRAME_BYTES = VERB_BYTES + 2
const END = Buffer.from('END\r\n')

/** A get whose key is `keyLength` bytes of the input from `keyStart` on. */
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
  readonly #ticketKeys: TicketKeys | undefined

  constructor(entries: Entries, input: InputMemory, output: ReplyBuffer, ticketKeys?: TicketKeys) {
    this.#entries = entries
    this.#input = input
    this.#output = output
    this.#lookups = entries.lookupsIn(input.bytes)
    this.#ticketKeys = ticketKeys
  }

  /** Takes `length` bytes of input from `start` on as a get; undefined when they are none or there is no room. */
  take(start: number, length: number): LoneGet | undefined {
    const { view } = this.#input
    const keyStart = start + VERB_BYTES
    const keyLength = length - FRAME_BYTES
    if (keyLength < 1 || keyLength > MAX_KEY_BYTES) return undefined
    const isGet = view.getInt32(start) === VERB && view.getInt16(keyStart + keyLength) === LINE_END
    if (!isGet || !isWord(view, keyStart, keyLength)) return undefined
    const { bytes } = this.#input
    const keyEnd = keyStart + keyLength
    const sessionKey = toSessionKey(bytes, keyStart, keyEnd)
    if (sessionKey === undefined) {
      if (this.#ticketKeys?.covers(bytes, keyStart, keyEnd) === true) return undefined
      // The key may contain an ID, for which the protocol of the connection searches.
      if (keyLength >= MIN_SPELLED_BYTES) return undefined
      const lookup = this.#lookups.add(keyStart, keyLength)
      return lookup === undefined ? undefined : { keyStart, keyLength, form: 'plain', lookup }
    }
    const { id, form } = sessionKey
    if (!this.#input.hasRoomFor(id.length)) return undefined
    const lookup = this.#lookups.add(this.#input.add(asBuffer(id)), id.length)
    return lookup === undefined ? undefined : { keyStart, keyLength, form, lookup }
  }

  /** Looks all gets up; to be called after the last `take`, right before `carryOut`. */
  find(): void {
    this.#lookups.find()
  }

  /** Writes the answer to a get and returns where it begins in the output. */
  carryOut({ keyStart, keyLength, form, lookup }: LoneGet): number {
    const entry = this.#entries.getFound(this.#lookups, lookup, form)
    if (entry !== undefined) {
      return this.#output.onlyValue(this.#input.view, keyStart, keyLength, entry)
    }
    const start = this.#output.length
    this.#output.bytes(END)
    return start
  }

  /** Forgets all gets; to be called when they are carried out. */
  clear(): void {
    this.#lookups.clear()
  }
}

/** Whether the bytes have no space and no control character. */
function isWord(view: DataView, start: number, length: number): boolean {
  const end = start + length
  let at = start
  for (; at + 4 <= end; at += 4) {
    const four = view.getInt32(at)
    // The condition holds when one of the four bytes is below 0x21.
    if (((four - 0x21212121) & ~four & 0x80808080) !== 0) return false
  }
  for (; at < end; at += 1) if (view.getUint8(at) < 0x21) return false
  return true
}
