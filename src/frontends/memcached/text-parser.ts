// Parses the bytes of memcached's text protocol into typed commands. It is asked for one command after the other and
// owns no socket; what it holds is bounded by the longest line and the largest value.

import type { InputBuffer } from '../input-buffer.ts'
import { KeyMemory, MAX_KEY_BYTES } from './keys.ts'
import {
  type AwaitedData,
  BAD_FORMAT,
  type GetCommand,
  malformed,
  readCommand,
  readExpiry,
  type TextCommand,
  UNKNOWN,
} from './text-commands.ts'

/** Longest line, which is memcached's own limit for a line without an end. */
export const MAX_LINE_BYTES = 2048
/** Longest line of a get, which may name many keys; memcached has no limit for it. */
export const MAX_GET_LINE_BYTES = 65_536

const TOO_LONG = 'CLIENT_ERROR line too long\r\n'
const BAD_CHUNK = 'CLIENT_ERROR bad data chunk\r\n'

const SPACE = 0x20
const CARRIAGE_RETURN = 0x0d
const NEWLINE = 0x0a
const LINE_END_BYTES = 2

/** The rest of a line that names several keys, of which the next one begins at `position`. */
interface KeyList {
  readonly bytes: Buffer
  position: number
  readonly withCas: boolean
  readonly expirySec: number | undefined
}

export class TextParser {
  readonly #input: InputBuffer
  readonly #maxValueBytes: number
  readonly #keyMemory = new KeyMemory()
  readonly #get: GetCommand
  #keys: KeyList | undefined
  #awaited: AwaitedData | undefined
  /** Bytes of data of a refused command that are still to be discarded. */
  #skipBytes = 0
  #isSkippingLine = false
  #isBroken = false

  constructor(input: InputBuffer, maxValueBytes: number) {
    this.#input = input
    this.#maxValueBytes = maxValueBytes
    const key = Buffer.alloc(0)
    this.#get = { type: 'get', key, withCas: false, expirySec: undefined, isLast: true }
  }

  /** Whether a command has begun that more bytes must complete. */
  get isMidway(): boolean {
    return (
      this.#input.length > 0 ||
      this.#awaited !== undefined ||
      this.#skipBytes > 0 ||
      this.#isSkippingLine
    )
  }

  /** Returns the next command; undefined when more bytes must come first. */
  next(): TextCommand | undefined {
    if (this.#isBroken) {
      this.#input.clear()
      return undefined
    }
    if (this.#keys !== undefined) return this.#nextKey(this.#keys)
    if (this.#input.length === 0 || !this.#skip()) return undefined
    return this.#awaited === undefined ? this.#readLine() : this.#readData(this.#awaited)
  }

  #readLine(): TextCommand | undefined {
    const newline = this.#input.findNewline()
    const lineBytes = newline === -1 ? this.#input.length : newline
    if (lineBytes > MAX_LINE_BYTES && lineBytes > this.#longestLine()) {
      this.#isBroken = true
      return malformed(TOO_LONG, true)
    }
    if (newline === -1) return undefined
    const isReturn = newline > 0 && this.#input.at(newline - 1) === CARRIAGE_RETURN
    const { bytes, start } = this.#input
    const end = start + newline - (isReturn ? 1 : 0)
    this.#input.skip(newline + 1)
    return this.#beginGet(bytes, start, end) ?? this.#beginCommand(bytes.subarray(start, end))
  }

  #longestLine(): number {
    const verb = this.#input.peek(5).toString('latin1')
    return /^(?:gets?|gats?) /.test(verb) ? MAX_GET_LINE_BYTES : MAX_LINE_BYTES
  }

  /** Reads a line as a get, without a view of it, as nearly every line is one; undefined when it is another command. */
  #beginGet(bytes: Buffer, start: number, end: number): TextCommand | undefined {
    if (start === end || bytes[start] !== 0x67) return undefined
    const verbEnd = endOfWord(bytes, start, end)
    const verb = isGet(bytes, start, verbEnd) ? 'get' : bytes.toString('latin1', start, verbEnd)
    const isGat = verb === 'gat' || verb === 'gats'
    if (!isGat && verb !== 'get' && verb !== 'gets') return undefined
    let position = skipSpaces(bytes, verbEnd, end)
    let expirySec: number | undefined
    if (isGat) {
      const wordEnd = endOfWord(bytes, position, end)
      expirySec = readExpiry(bytes.toString('latin1', position, wordEnd))
      position = skipSpaces(bytes, wordEnd, end)
    }
    if (position === end) return malformed(UNKNOWN)
    if (isGat && expirySec === undefined) {
      return malformed('CLIENT_ERROR invalid exptime argument\r\n')
    }
    const withCas = verb === 'gets' || verb === 'gats'
    const key = this.#keyMemory.read(bytes, position, end)
    if (key === undefined) return malformed(BAD_FORMAT)
    if (position + key.length === end) return this.#getOf(key, withCas, expirySec, true)
    // memcached answers none of the keys when one of them is too long; so do we.
    if (hasLongWord(bytes, position + key.length, end)) return malformed(BAD_FORMAT)
    // The keys are copied: the peer may have to read answers first, and the input is overwritten meanwhile.
    const rest = Buffer.from(bytes.subarray(position, end))
    this.#keys = { bytes: rest, position: 0, withCas, expirySec }
    return this.#nextKey(this.#keys)
  }

  #nextKey(keys: KeyList): TextCommand {
    const { bytes, position, withCas, expirySec } = keys
    const key = this.#keyMemory.read(bytes, position, bytes.length)
    keys.position = skipSpaces(bytes, position + (key?.length ?? 0), bytes.length)
    const isLast = keys.position === bytes.length
    if (isLast || key === undefined) this.#keys = undefined
    return key === undefined ? malformed(BAD_FORMAT) : this.#getOf(key, withCas, expirySec, isLast)
  }

  #getOf(
    key: Buffer,
    withCas: boolean,
    expirySec: number | undefined,
    isLast: boolean,
  ): TextCommand {
    const get = this.#get
    get.key = key
    get.withCas = withCas
    get.expirySec = expirySec
    get.isLast = isLast
    return get
  }

  #beginCommand(line: Buffer): TextCommand | undefined {
    const words = line
      .toString('latin1')
      .split(' ')
      .filter((word) => word !== '')
    const command = readCommand(words)
    if ('type' in command) return command
    if (command.problem === undefined && command.bytes <= this.#maxValueBytes) {
      this.#awaited = command
      return this.#readData(command)
    }
    this.#skipBytes = command.bytes + LINE_END_BYTES
    const { problem, isQuiet } = command
    if (problem === undefined) return { type: 'too_large', isQuiet, valueBytes: command.bytes }
    return malformed(isQuiet ? '' : problem)
  }

  #readData(awaited: AwaitedData): TextCommand | undefined {
    const { bytes } = awaited
    if (this.#input.length < bytes + LINE_END_BYTES) return undefined
    this.#awaited = undefined
    const data = this.#input.take(bytes)
    if (this.#input.at(0) === CARRIAGE_RETURN && this.#input.at(1) === NEWLINE) {
      this.#input.skip(LINE_END_BYTES)
      return awaited.complete(data)
    }
    // There is more data than announced, or less: parsing goes on after the next line end.
    this.#isSkippingLine = true
    return malformed(awaited.isQuiet ? '' : BAD_CHUNK)
  }

  /** Discards input that has to be skipped; false when more of it must come. */
  #skip(): boolean {
    if (this.#skipBytes > 0) {
      const skipped = Math.min(this.#skipBytes, this.#input.length)
      this.#input.skip(skipped)
      this.#skipBytes -= skipped
    }
    if (this.#isSkippingLine) {
      const end = this.#input.findNewline()
      this.#input.skip(end === -1 ? this.#input.length : end + 1)
      this.#isSkippingLine = end === -1
    }
    return this.#skipBytes === 0 && !this.#isSkippingLine
  }
}

/** Whether the word is `get`, compared without making a string, because it is the most common verb. */
function isGet(bytes: Buffer, start: number, end: number): boolean {
  const isAsLong = end - start === 3
  return isAsLong && bytes[start] === 0x67 && bytes[start + 1] === 0x65 && bytes[start + 2] === 0x74
}

/** Returns the end of the word at `start`. Words are short, so a loop is faster than indexOf. */
function endOfWord(bytes: Buffer, start: number, end: number): number {
  let at = start
  while (at < end && bytes[at] !== SPACE) at += 1
  return at
}

function hasLongWord(bytes: Buffer, start: number, end: number): boolean {
  let wordStart = start
  for (let at = start; at < end; at += 1) {
    if (bytes[at] === SPACE) wordStart = at + 1
    else if (at - wordStart === MAX_KEY_BYTES) return true
  }
  return false
}

function skipSpaces(bytes: Buffer, start: number, end: number): number {
  let at = start
  while (at < end && bytes[at] === SPACE) at += 1
  return at
}
