// Typed commands out of the bytes of memcached's text protocol. It is asked for one command after the
// other and owns no socket; what it holds is bounded by the longest line and the largest value.

import type { InputBuffer } from './input-buffer.ts'
import { MAX_KEY_BYTES } from './keys.ts'
import {
  type AwaitedData,
  BAD_FORMAT,
  malformed,
  readCommand,
  readExpiry,
  type TextCommand,
  UNKNOWN,
} from './text-commands.ts'

/** memcached's own cap on a line without an end. */
export const MAX_LINE_BYTES = 2048
/** A get may name many keys: memcached has no cap for these. */
export const MAX_GET_LINE_BYTES = 65_536

const TOO_LONG = 'CLIENT_ERROR line too long\r\n'
const BAD_CHUNK = 'CLIENT_ERROR bad data chunk\r\n'

const SPACE = 0x20
const CARRIAGE_RETURN = 0x0d
const NEWLINE = 0x0a
const LINE_END_BYTES = 2

/** The rest of a line that names keys, given out one by one. */
interface KeyList {
  readonly line: Buffer
  position: number
  readonly withCas: boolean
  readonly expirySec: number | undefined
}

export class TextParser {
  readonly #input: InputBuffer
  readonly #maxValueBytes: number
  #keys: KeyList | undefined
  #awaited: AwaitedData | undefined
  /** Bytes still to be thrown away: data of a command that was refused. */
  #skipBytes = 0
  #isSkippingLine = false
  #isBroken = false

  constructor(input: InputBuffer, maxValueBytes: number) {
    this.#input = input
    this.#maxValueBytes = maxValueBytes
  }

  /** Whether more must come before the command that began can be answered. */
  get isMidway(): boolean {
    return (
      this.#input.length > 0 ||
      this.#awaited !== undefined ||
      this.#skipBytes > 0 ||
      this.#isSkippingLine
    )
  }

  /** The next command, or undefined until more bytes are there. */
  next(): TextCommand | undefined {
    if (this.#isBroken) {
      this.#input.clear()
      return undefined
    }
    if (this.#keys !== undefined) return this.#nextKey(this.#keys)
    if (!this.#skip()) return undefined
    return this.#awaited === undefined ? this.#readLine() : this.#readData(this.#awaited)
  }

  #readLine(): TextCommand | undefined {
    const end = this.#input.findNewline()
    const lineBytes = end === -1 ? this.#input.length : end
    if (lineBytes > MAX_LINE_BYTES && lineBytes > this.#longestLine()) {
      this.#isBroken = true
      return malformed(TOO_LONG, true)
    }
    if (end === -1) return undefined
    const isReturn = end > 0 && this.#input.at(end - 1) === CARRIAGE_RETURN
    const line = this.#input.take(isReturn ? end - 1 : end)
    this.#input.skip(isReturn ? 2 : 1)
    return this.#beginGet(line) ?? this.#beginCommand(line)
  }

  #longestLine(): number {
    const verb = this.#input.peek(5).toString('latin1')
    return /^(?:gets?|gats?) /.test(verb) ? MAX_GET_LINE_BYTES : MAX_LINE_BYTES
  }

  /** Undefined when it is another command. */
  #beginGet(line: Buffer): TextCommand | undefined {
    if (line[0] !== 0x67) return undefined
    const verbEnd = endOfWord(line, 0)
    const verb = isGet(line, verbEnd) ? 'get' : line.toString('latin1', 0, verbEnd)
    const isGat = verb === 'gat' || verb === 'gats'
    if (!isGat && verb !== 'get' && verb !== 'gets') return undefined
    let position = skipSpaces(line, verbEnd)
    let expirySec: number | undefined
    if (isGat) {
      const wordEnd = endOfWord(line, position)
      expirySec = readExpiry(line.toString('latin1', position, wordEnd))
      position = skipSpaces(line, wordEnd)
    }
    if (position === line.length) return malformed(UNKNOWN)
    if (isGat && expirySec === undefined) {
      return malformed('CLIENT_ERROR invalid exptime argument\r\n')
    }
    this.#keys = { line, position, withCas: verb.endsWith('s'), expirySec }
    return this.#nextKey(this.#keys)
  }

  #nextKey(keys: KeyList): TextCommand {
    const { line, position, withCas, expirySec } = keys
    const end = endOfWord(line, position)
    const key = line.subarray(position, end)
    keys.position = skipSpaces(line, end)
    const isLast = keys.position === line.length
    const isLong = key.length > MAX_KEY_BYTES
    if (isLast || isLong) this.#keys = undefined
    return isLong ? malformed(BAD_FORMAT) : { type: 'get', key, withCas, expirySec, isLast }
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
    if (problem === undefined) return { type: 'too_large', isQuiet }
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
    // More data than announced, or less: the next line end is as good a place as any to go on from.
    this.#isSkippingLine = true
    return malformed(awaited.isQuiet ? '' : BAD_CHUNK)
  }

  /** Throws away what has to be; false when more of it must come. */
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

/** Nearly every command is one: no string is made of its first word. */
function isGet(line: Buffer, verbEnd: number): boolean {
  return verbEnd === 3 && line[0] === 0x67 && line[1] === 0x65 && line[2] === 0x74
}

/** Words are short: a loop finds the end sooner than indexOf. */
function endOfWord(line: Buffer, start: number): number {
  let end = start
  while (end < line.length && line[end] !== SPACE) end += 1
  return end
}

function skipSpaces(line: Buffer, start: number): number {
  let position = start
  while (line[position] === SPACE) position += 1
  return position
}
