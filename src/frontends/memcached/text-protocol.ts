// Answers the commands of memcached's text protocol, one at a time.

import type { InputBuffer } from '../input-buffer.ts'
import { casTokenOf, type WriteResult } from './entries.ts'
import { answerMeta } from './meta-commands.ts'
import type { Protocol, ProtocolParts, Resume, Step } from './protocol.ts'
import { SERVER_VERSION } from './server-status.ts'
import { type TextCommand, UNKNOWN } from './text-commands.ts'
import { TextParser } from './text-parser.ts'
import { TICKETS_CAS, TICKETS_REFUSAL, type TicketKeys } from './ticket-keys.ts'
import type { Entry } from './values.ts'

/** Reply to each result of a write. Apache only distinguishes STORED, NOT_STORED and everything else. */
const WRITE_REPLIES: Readonly<Record<WriteResult, string>> = {
  stored: 'STORED\r\n',
  not_stored: 'NOT_STORED\r\n',
  not_found: 'NOT_FOUND\r\n',
  exists: 'EXISTS\r\n',
  blocksize: 'SERVER_ERROR object too large for cache\r\n',
  full: 'SERVER_ERROR out of memory storing object\r\n',
  keysize: 'SERVER_ERROR key longer than the keysize of the cache\r\n',
  context: 'SERVER_ERROR session refused: its session ID context does not match\r\n',
  expired: 'SERVER_ERROR session refused: it has no lifetime left\r\n',
  early_data: 'SERVER_ERROR session refused: it allows early data\r\n',
  version: 'SERVER_ERROR session refused: a peer left the largest version under this ID\r\n',
  key_mismatch: 'SERVER_ERROR session refused: its ID is not the one in the key\r\n',
}
/** Parts of the answers to gets, as bytes, because reading a string is slower. */
const VALUE = Buffer.from('VALUE ')
const SPACE = Buffer.from(' ')
const LINE_END = Buffer.from('\r\n')
const END = Buffer.from('END\r\n')
const NO_KEY = Buffer.alloc(0)
const NON_NUMERIC = 'CLIENT_ERROR cannot increment or decrement non-numeric value\r\n'

export class TextProtocol implements Protocol {
  readonly #parts: ProtocolParts
  readonly #parser: TextParser

  constructor(input: InputBuffer, parts: ProtocolParts) {
    this.#parts = parts
    this.#parser = new TextParser(input, parts.maxValueBytes)
  }

  get isMidway(): boolean {
    return this.#parser.isMidway
  }

  get mayTakeLoneGets(): boolean {
    return !this.isMidway
  }

  step(resume: Resume): Step {
    const command = this.#parser.next()
    if (command === undefined) return 'starved'
    const { ticketKeys } = this.#parts
    const isOfTickets = ticketKeys?.covers(keyOf(command)) === true
    return isOfTickets ? this.#answerTickets(command, ticketKeys) : this.#answer(command, resume)
  }

  #answer(command: TextCommand, resume: Resume): Step {
    const { output, entries, stats } = this.#parts
    switch (command.type) {
      case 'get':
        this.#get(command)
        return 'answered'
      case 'write':
        this.#reply(WRITE_REPLIES[entries.write(command.write)], command.isQuiet)
        return 'answered'
      case 'too_large':
        this.#reply(WRITE_REPLIES[entries.refuseTooLarge(command.valueBytes)], command.isQuiet)
        return 'answered'
      case 'arithmetic':
        this.#arithmetic(command)
        return 'answered'
      case 'touch': {
        const isTouched = entries.touch(command.key, command.expirySec)
        this.#reply(isTouched ? 'TOUCHED\r\n' : 'NOT_FOUND\r\n', command.isQuiet)
        return 'answered'
      }
      case 'delete': {
        const isRemoved = entries.remove(command.key) === 'removed'
        this.#reply(isRemoved ? 'DELETED\r\n' : 'NOT_FOUND\r\n', command.isQuiet)
        return 'answered'
      }
      case 'flush':
        return this.#flush(command.delaySec, command.isQuiet, resume)
      case 'stats':
        this.#stats(command.group)
        return 'answered'
      case 'dump':
        output.text(command.end)
        return 'answered'
      case 'version':
        output.text(`VERSION ${SERVER_VERSION}\r\n`)
        return 'answered'
      case 'verbosity':
        // This changes nothing: the operator chooses how much is logged.
        this.#reply('OK\r\n', command.isQuiet)
        return 'answered'
      case 'quit':
        return 'close'
      case 'meta':
        if (!answerMeta(command, entries, output)) stats.malformed += 1
        return 'answered'
      case 'malformed':
        stats.malformed += 1
        output.text(command.reply)
        return command.isFatal ? 'close' : 'answered'
      case 'foreign':
        if (command.protocol === 'http') stats.httpRequests += 1
        else stats.foreignBytes += 1
        return 'close'
    }
  }

  #get(command: TextCommand & { type: 'get' }): void {
    const { output, entries } = this.#parts
    const { key, expirySec } = command
    const entry = expirySec === undefined ? entries.get(key) : entries.getAndTouch(key, expirySec)
    if (entry !== undefined) this.#value(key, entry, command.withCas)
    if (command.isLast) output.bytes(END)
  }

  /** Answers a command on ticket keys, which can only be read. */
  #answerTickets(command: TextCommand, ticketKeys: TicketKeys): Step {
    const { output, stats } = this.#parts
    if (command.type !== 'get') {
      stats.refused += 1
      output.text(`SERVER_ERROR ${TICKETS_REFUSAL}\r\n`)
      return 'close'
    }
    const { key, withCas, isLast } = command
    stats.gets += 1
    const value = ticketKeys.read(key)
    if (value === undefined) return 'close'
    stats.getHits += 1
    this.#valueHead(key, 0, value.length, withCas ? TICKETS_CAS : undefined)
    output.secret(value)
    value.fill(0)
    output.bytes(LINE_END)
    if (isLast) output.bytes(END)
    return 'answered'
  }

  #value(key: Buffer, { flags, value }: Entry, withCas: boolean): void {
    const { output } = this.#parts
    this.#valueHead(key, flags, value.length, withCas ? casTokenOf(value.version) : undefined)
    output.session(value)
    output.bytes(LINE_END)
  }

  #valueHead(key: Buffer, flags: number, length: number, cas: bigint | undefined): void {
    const { output } = this.#parts
    output.bytes(VALUE)
    output.bytes(key)
    output.bytes(SPACE)
    output.number(flags)
    output.bytes(SPACE)
    output.number(length)
    if (cas !== undefined) output.text(` ${cas}`)
    output.bytes(LINE_END)
  }

  #arithmetic({ request, isQuiet }: TextCommand & { type: 'arithmetic' }): void {
    const result = this.#parts.entries.arithmetic(request)
    if (typeof result === 'bigint') this.#reply(`${result}\r\n`, isQuiet)
    else this.#reply(result === 'non_numeric' ? NON_NUMERIC : WRITE_REPLIES[result], isQuiet)
  }

  #flush(delaySec: number, isQuiet: boolean, resume: Resume): Step {
    const { flush } = this.#parts
    const answer = () => this.#reply('OK\r\n', isQuiet)
    if (!flush(delaySec, () => resume(answer))) return 'waiting'
    answer()
    return 'answered'
  }

  #stats(group: string): void {
    const { output, status, stats } = this.#parts
    const lines = status.lines(group)
    if (lines === undefined) {
      stats.malformed += 1
      output.text(UNKNOWN)
      return
    }
    for (const [name, value] of lines) output.text(`STAT ${name} ${value}\r\n`)
    output.text(group === 'reset' ? 'RESET\r\n' : 'END\r\n')
  }

  #reply(text: string, isQuiet: boolean): void {
    if (!isQuiet) this.#parts.output.text(text)
  }
}

/** The key of a command; empty for a command without one. */
function keyOf(command: TextCommand): Buffer {
  switch (command.type) {
    case 'get':
    case 'touch':
    case 'delete':
      return command.key
    case 'write':
      return command.write.key
    case 'arithmetic':
      return command.request.key
    case 'meta':
      return Buffer.from(command.key, 'latin1')
    default:
      return NO_KEY
  }
}
