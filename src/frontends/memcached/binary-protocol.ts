// Answers the frames of memcached's binary protocol, one at a time. An answer has the layout of a request
// (binary-parser.ts), with magic 81 and a status in place of the vbucket.

import type { InputBuffer } from '../input-buffer.ts'
import { BinaryParser, type Frame, HEADER_BYTES } from './binary-parser.ts'
import { type Arithmetic, casTokenOf, type WriteMode, type WriteResult } from './entries.ts'
import type { Protocol, ProtocolParts, Resume, Step } from './protocol.ts'
import { SERVER_VERSION } from './server-status.ts'
import { TICKETS_CAS, TICKETS_REFUSAL, type TicketKeys } from './ticket-keys.ts'

const RESPONSE_MAGIC = 0x81
/** Expiry in increment and decrement that means: do not create the counter when there is none. */
const NO_INITIAL = 0xffff_ffff

const NOTHING = Buffer.alloc(0)

interface Status {
  readonly code: number
  readonly text: string
}

const SUCCESS: Status = { code: 0x00, text: '' }
const NOT_FOUND: Status = { code: 0x01, text: 'Not found' }
const EXISTS: Status = { code: 0x02, text: 'Data exists for key.' }
const TOO_LARGE: Status = { code: 0x03, text: 'Too large.' }
const INVALID: Status = { code: 0x04, text: 'Invalid arguments' }
const NON_NUMERIC: Status = { code: 0x06, text: 'Non-numeric server-side value for incr or decr' }
const READ_ONLY: Status = { code: 0x05, text: `Refused: ${TICKETS_REFUSAL}` }
const UNKNOWN_COMMAND: Status = { code: 0x81, text: 'Unknown command' }

const WRITE_STATUS: Readonly<Record<WriteResult, Status>> = {
  stored: SUCCESS,
  not_stored: { code: 0x05, text: 'Not stored.' },
  not_found: NOT_FOUND,
  exists: EXISTS,
  blocksize: TOO_LARGE,
  full: { code: 0x82, text: 'Out of memory' },
  keysize: { code: 0x04, text: 'Key longer than the keysize of the cache' },
  context: { code: 0x05, text: 'Refused: the session ID context does not match' },
  expired: { code: 0x05, text: 'Refused: the session has no lifetime left' },
  early_data: { code: 0x05, text: 'Refused: the session allows early data' },
  version: { code: 0x05, text: 'Refused: a peer left the largest version under this ID' },
  key_mismatch: { code: 0x05, text: 'Refused: the ID of the session is not the one in the key' },
}

interface Body {
  readonly status?: Status
  readonly cas?: bigint
  readonly extras?: Buffer
  readonly key?: Buffer
  readonly value?: Buffer
  /** Whether the value has to be erased from memory once it is sent. */
  readonly isSecret?: boolean
}

export class BinaryProtocol implements Protocol {
  readonly #parts: ProtocolParts
  readonly #parser: BinaryParser

  constructor(input: InputBuffer, parts: ProtocolParts) {
    this.#parts = parts
    this.#parser = new BinaryParser(input, parts.maxValueBytes)
  }

  get mayTakeLoneGets(): boolean {
    return false
  }

  get isMidway(): boolean {
    return this.#parser.isMidway
  }

  step(resume: Resume): Step {
    const frame = this.#parser.next()
    if (frame === undefined) return 'starved'
    const { stats, entries } = this.#parts
    const command = BINARY_COMMANDS.get(frame.opcode)
    if (frame.state === 'too_large') {
      this.#fail(frame, WRITE_STATUS[entries.refuseTooLarge(frame.valueBytes)])
      return 'answered'
    }
    if (frame.state === 'ok' && command !== undefined && isComplete(command, frame)) {
      const { ticketKeys } = this.#parts
      if (ticketKeys?.covers(frame.key)) return this.#answerTickets(command, frame, ticketKeys)
      return this.#answer(command, frame, resume)
    }
    stats.malformed += 1
    this.#fail(frame, command === undefined ? UNKNOWN_COMMAND : INVALID)
    return frame.state === 'broken' ? 'close' : 'answered'
  }

  #answer(command: BinaryCommand, frame: Frame, resume: Resume): Step {
    switch (command.kind) {
      case 'get':
        this.#get(command, frame)
        return 'answered'
      case 'write':
        this.#write(command.mode, frame, command.isQuiet)
        return 'answered'
      case 'arithmetic':
        this.#arithmetic(command.direction, frame, command.isQuiet)
        return 'answered'
      case 'delete':
        this.#delete(frame, command.isQuiet)
        return 'answered'
      case 'touch':
        this.#touch(frame)
        return 'answered'
      case 'flush':
        return this.#flush(frame, command.isQuiet, resume)
      case 'stat':
        this.#stat(frame)
        return 'answered'
      case 'version':
        this.#reply(frame, { value: Buffer.from(SERVER_VERSION) })
        return 'answered'
      case 'noop':
      case 'verbosity':
        this.#reply(frame, {})
        return 'answered'
      case 'quit':
        if (!command.isQuiet) this.#reply(frame, {})
        return 'close'
    }
  }

  #get(command: BinaryCommand & { kind: 'get' }, frame: Frame): void {
    const { entries } = this.#parts
    const entry = command.withTouch
      ? entries.getAndTouch(frame.key, frame.extras.readUInt32BE(0))
      : entries.get(frame.key)
    const key = command.withKey ? frame.key : NOTHING
    if (entry === undefined) {
      if (command.isQuiet) return
      if (command.withKey) this.#reply(frame, { status: NOT_FOUND, key })
      else this.#fail(frame, NOT_FOUND)
      return
    }
    const { session: value, version } = entry.value
    this.#reply(frame, { extras: u32(entry.flags), key, value, cas: casTokenOf(version) })
  }

  /** Answers a command on ticket keys, which can only be read. */
  #answerTickets(command: BinaryCommand, frame: Frame, ticketKeys: TicketKeys): Step {
    const { stats } = this.#parts
    if (command.kind !== 'get') {
      stats.refused += 1
      this.#fail(frame, READ_ONLY)
      return 'close'
    }
    stats.gets += 1
    const value = ticketKeys.read(frame.key)
    if (value === undefined) return 'close'
    stats.getHits += 1
    const key = command.withKey ? frame.key : NOTHING
    this.#reply(frame, { extras: u32(0), key, value, cas: TICKETS_CAS, isSecret: true })
    value.fill(0)
    return 'answered'
  }

  #write(mode: WriteMode, frame: Frame, isQuiet: boolean): void {
    const { key, extras, value: data } = frame
    const [flags, expirySec] =
      extras.length === 8 ? [extras.readUInt32BE(0), extras.readUInt32BE(4)] : [0, 0]
    const cas = casOf(frame)
    const result = this.#parts.entries.write({ mode, key, flags, expirySec, data, cas })
    if (result !== 'stored') this.#fail(frame, writeStatus(mode, result))
    else if (!isQuiet) this.#reply(frame, { cas: this.#parts.entries.casToken(key) })
  }

  #arithmetic(direction: 'increment' | 'decrement', frame: Frame, isQuiet: boolean): void {
    const { key, extras } = frame
    const expirySec = extras.readUInt32BE(16)
    const result = this.#parts.entries.arithmetic({
      key,
      direction,
      delta: extras.readBigUInt64BE(0),
      cas: casOf(frame),
      initial:
        expirySec === NO_INITIAL ? undefined : { value: extras.readBigUInt64BE(8), expirySec },
    })
    if (typeof result !== 'bigint') {
      this.#fail(frame, result === 'non_numeric' ? NON_NUMERIC : WRITE_STATUS[result])
      return
    }
    if (isQuiet) return
    const value = Buffer.alloc(8)
    value.writeBigUInt64BE(result)
    this.#reply(frame, { value, cas: this.#parts.entries.casToken(key) })
  }

  #delete(frame: Frame, isQuiet: boolean): void {
    const result = this.#parts.entries.remove(frame.key, casOf(frame))
    if (result !== 'removed') this.#fail(frame, WRITE_STATUS[result])
    else if (!isQuiet) this.#reply(frame, {})
  }

  #touch(frame: Frame): void {
    const { entries } = this.#parts
    if (!entries.touch(frame.key, frame.extras.readUInt32BE(0))) {
      this.#fail(frame, NOT_FOUND)
      return
    }
    const entry = entries.peek(frame.key)
    const cas = entry === undefined ? 0n : casTokenOf(entry.version)
    this.#reply(frame, { extras: u32(entry?.flags ?? 0), cas })
  }

  #flush(frame: Frame, isQuiet: boolean, resume: Resume): Step {
    const delaySec = frame.extras.length === 4 ? frame.extras.readUInt32BE(0) : 0
    const answer = () => {
      if (!isQuiet) this.#reply(frame, {})
    }
    if (!this.#parts.flush(delaySec, () => resume(answer))) return 'waiting'
    answer()
    return 'answered'
  }

  #stat(frame: Frame): void {
    const lines = this.#parts.status.lines(frame.key.toString('latin1'))
    if (lines === undefined) {
      this.#fail(frame, NOT_FOUND)
      return
    }
    for (const [name, value] of lines) {
      this.#reply(frame, { key: Buffer.from(name), value: Buffer.from(String(value)) })
    }
    this.#reply(frame, {})
  }

  #fail(frame: Frame, status: Status): void {
    this.#reply(frame, { status, value: Buffer.from(status.text) })
  }

  #reply({ opcode, opaque }: Frame, body: Body): void {
    const { status = SUCCESS, cas = 0n, isSecret = false } = body
    const { extras = NOTHING, key = NOTHING, value = NOTHING } = body
    const { output } = this.#parts
    const header = output.zeros(HEADER_BYTES)
    header.writeUInt8(RESPONSE_MAGIC, 0)
    header.writeUInt8(opcode, 1)
    header.writeUInt16BE(key.length, 2)
    header.writeUInt8(extras.length, 4)
    header.writeUInt16BE(status.code, 6)
    header.writeUInt32BE(extras.length + key.length + value.length, 8)
    header.writeUInt32BE(opaque, 12)
    header.writeBigUInt64BE(cas, 16)
    output.bytes(extras)
    output.bytes(key)
    if (isSecret) output.secret(value)
    else output.bytes(value)
  }
}

function isComplete(command: BinaryCommand, { extras, key, value }: Frame): boolean {
  if (!command.extrasBytes.includes(extras.length)) return false
  if (command.key === 'required' && key.length === 0) return false
  if (command.key === 'none' && key.length > 0) return false
  return command.hasValue || value.length === 0
}

/** Returns the status of a write that stored nothing. Only add and replace report what they found. */
function writeStatus(mode: WriteMode, result: Exclude<WriteResult, 'stored'>): Status {
  if (result === 'not_stored' && mode === 'add') return EXISTS
  if (result === 'not_stored' && mode === 'replace') return NOT_FOUND
  return WRITE_STATUS[result]
}

function casOf(frame: Frame): bigint | undefined {
  return frame.cas === 0n ? undefined : frame.cas
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

// The opcodes of memcached's binary protocol, and what a frame of each must consist of.

export type BinaryKind =
  | { readonly kind: 'get'; readonly withKey: boolean; readonly withTouch: boolean }
  | { readonly kind: 'write'; readonly mode: WriteMode }
  | { readonly kind: 'arithmetic'; readonly direction: Arithmetic['direction'] }
  | {
      readonly kind:
        | 'delete'
        | 'touch'
        | 'flush'
        | 'stat'
        | 'noop'
        | 'version'
        | 'verbosity'
        | 'quit'
    }

export type BinaryCommand = BinaryKind & {
  /** Whether success is not answered, or, for a get, a miss. */
  readonly isQuiet: boolean
  /** Lengths that the extras may have. */
  readonly extrasBytes: readonly number[]
  readonly key: 'required' | 'optional' | 'none'
  readonly hasValue: boolean
}

/** The extras of a get that touches are u32 expiry. */
function get(withKey: boolean, isQuiet: boolean, withTouch = false): BinaryCommand {
  const kind = { kind: 'get', withKey, withTouch } as const
  const extrasBytes = [withTouch ? 4 : 0]
  return { ...kind, isQuiet, extrasBytes, key: 'required', hasValue: false }
}

/** The extras of set, add and replace are u32 flags and u32 expiry; append and prepend have none. */
function write(mode: WriteMode, isQuiet: boolean): BinaryCommand {
  const extrasBytes = mode === 'append' || mode === 'prepend' ? [0] : [8]
  return { kind: 'write', mode, isQuiet, extrasBytes, key: 'required', hasValue: true }
}

/** The extras are u64 delta, u64 initial value and u32 expiry. */
function arithmetic(direction: Arithmetic['direction'], isQuiet: boolean): BinaryCommand {
  const kind = { kind: 'arithmetic', direction } as const
  return { ...kind, isQuiet, extrasBytes: [20], key: 'required', hasValue: false }
}

function remove(isQuiet: boolean): BinaryCommand {
  return { kind: 'delete', isQuiet, extrasBytes: [0], key: 'required', hasValue: false }
}

function bare(
  kind: 'noop' | 'version' | 'quit' | 'flush' | 'verbosity',
  isQuiet = false,
  extrasBytes: readonly number[] = [0],
): BinaryCommand {
  return { kind, isQuiet, extrasBytes, key: 'none', hasValue: false }
}

export const BINARY_COMMANDS: ReadonlyMap<number, BinaryCommand> = new Map([
  [0x00, get(false, false)],
  [0x01, write('set', false)],
  [0x02, write('add', false)],
  [0x03, write('replace', false)],
  [0x04, remove(false)],
  [0x05, arithmetic('increment', false)],
  [0x06, arithmetic('decrement', false)],
  [0x07, bare('quit')],
  [0x08, bare('flush', false, [0, 4])],
  [0x09, get(false, true)],
  [0x0a, bare('noop')],
  [0x0b, bare('version')],
  [0x0c, get(true, false)],
  [0x0d, get(true, true)],
  [0x0e, write('append', false)],
  [0x0f, write('prepend', false)],
  [0x10, { kind: 'stat', isQuiet: false, extrasBytes: [0], key: 'optional', hasValue: false }],
  [0x11, write('set', true)],
  [0x12, write('add', true)],
  [0x13, write('replace', true)],
  [0x14, remove(true)],
  [0x15, arithmetic('increment', true)],
  [0x16, arithmetic('decrement', true)],
  [0x17, bare('quit', true)],
  [0x18, bare('flush', true, [0, 4])],
  [0x19, write('append', true)],
  [0x1a, write('prepend', true)],
  [0x1b, bare('verbosity', false, [4])],
  [0x1c, { kind: 'touch', isQuiet: false, extrasBytes: [4], key: 'required', hasValue: false }],
  [0x1d, get(false, false, true)],
  [0x1e, get(false, true, true)],
  [0x23, get(true, false, true)],
  [0x24, get(true, true, true)],
])
