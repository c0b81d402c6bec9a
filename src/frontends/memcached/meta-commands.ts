// memcached's meta commands mg, ms, md, ma and mn: one letter per flag, answered in the order given. Flags for
// bookkeeping that only memcached has (h, l: accesses; I, N of mg, R: stale values and which client may renew them; E:
// tokens chosen by the client) are refused as invalid.

import {
  type Arithmetic,
  casTokenOf,
  type Entries,
  type WriteMode,
  type WriteResult,
} from './entries.ts'
import type { ReplyBuffer } from './fast/reply-buffer.ts'
import { MAX_KEY_BYTES } from './keys.ts'
import {
  BAD_FORMAT,
  type MetaCommand,
  readExpiry,
  readKey,
  readU32,
  readU64,
} from './text-commands.ts'

const INVALID_FLAG = 'CLIENT_ERROR invalid flag\r\n'
const DUPLICATE_FLAG = 'CLIENT_ERROR duplicate flag\r\n'
const BAD_TOKEN = 'CLIENT_ERROR bad token in command line format\r\n'
const NON_NUMERIC = 'CLIENT_ERROR cannot increment or decrement non-numeric value\r\n'
/** Longest token of the flag `O`, as in memcached. */
const MAX_OPAQUE_BYTES = 32

const ALLOWED = { mn: '', mg: 'bcfkqstvOT', ms: 'bckqCFMNOT', md: 'bkqCO', ma: 'bckqtvCDJMNOT' }

const MODES: Readonly<Record<string, WriteMode>> = {
  S: 'set',
  E: 'add',
  R: 'replace',
  A: 'append',
  P: 'prepend',
}
const DIRECTIONS: Readonly<Record<string, Arithmetic['direction']>> = {
  I: 'increment',
  '+': 'increment',
  D: 'decrement',
  '-': 'decrement',
}
const CODES: Readonly<Record<WriteResult, string>> = {
  stored: 'HD',
  not_stored: 'NS',
  not_found: 'NF',
  exists: 'EX',
  blocksize: 'SERVER_ERROR object too large for cache',
  full: 'SERVER_ERROR out of memory storing object',
  keysize: 'SERVER_ERROR key longer than the keysize of the cache',
  context: 'SERVER_ERROR session refused: its session ID context does not match',
  expired: 'SERVER_ERROR session refused: it has no lifetime left',
  early_data: 'SERVER_ERROR session refused: it allows early data',
  version: 'SERVER_ERROR session refused: a peer left the largest version under this ID',
  key_mismatch: 'SERVER_ERROR session refused: its ID is not the one in the key',
}

/** A meta command with its flags checked. */
interface MetaRequest {
  readonly command: MetaCommand
  readonly key: Buffer
  /** The token of each flag by its letter, in the order given; empty for a flag without a token. */
  readonly flags: ReadonlyMap<string, string>
  readonly isQuiet: boolean
  readonly cas: bigint | undefined
  readonly expirySec: number | undefined
}

/** Answers a meta command. Returns false when it was malformed, which is answered too. */
export function answerMeta(command: MetaCommand, entries: Entries, output: ReplyBuffer): boolean {
  if (command.verb === 'mn') {
    output.text('MN\r\n')
    return true
  }
  const request = readRequest(command)
  const problem =
    typeof request === 'string' ? request : ANSWERS[command.verb](request, entries, output)
  if (problem === undefined) return true
  output.text(problem)
  return false
}

type Answer = (request: MetaRequest, entries: Entries, output: ReplyBuffer) => string | undefined

const ANSWERS: Readonly<Record<'mg' | 'ms' | 'md' | 'ma', Answer>> = {
  mg: (request, entries, output) => {
    const { key, flags, expirySec } = request
    const entry = expirySec === undefined ? entries.get(key) : entries.getAndTouch(key, expirySec)
    if (entry === undefined) {
      if (!request.isQuiet) answerWith(output, 'EN', request, {})
      return undefined
    }
    const { ttlMs, version, session: data } = entry.value
    const facts: Facts = {
      s: () => data.length,
      f: () => entry.flags,
      t: () => Math.ceil(ttlMs / 1000),
      c: () => casTokenOf(version),
    }
    answerWith(output, flags.has('v') ? `VA ${data.length}` : 'HD', request, facts, data)
    return undefined
  },

  ms: (request, entries, output) => {
    const { key, flags, cas, expirySec = 0, command } = request
    const mode = MODES[(flags.get('M') ?? 'S').toUpperCase()]
    if (mode === undefined) return 'CLIENT_ERROR invalid mode for ms\r\n'
    const clientFlags = readU32(flags.get('F') ?? '0')
    if (clientFlags === undefined) return BAD_TOKEN
    const write = { mode, key, flags: clientFlags, expirySec, data: command.data, cas }
    let result = entries.write(write)
    const isMissing = result === 'not_stored' && (mode === 'append' || mode === 'prepend')
    const vivifySec = readExpiry(flags.get('N'))
    if (isMissing && vivifySec !== undefined) {
      result = entries.write({ ...write, mode: 'set', expirySec: vivifySec })
    }
    if (request.isQuiet && result === 'stored') return undefined
    answerWith(output, CODES[result], request, { c: () => entries.casToken(key) })
    return undefined
  },

  md: (request, entries, output) => {
    const result = entries.remove(request.key, request.cas)
    if (request.isQuiet && result !== 'exists') return undefined
    answerWith(output, result === 'removed' ? 'HD' : CODES[result], request, {})
    return undefined
  },

  ma: (request, entries, output) => {
    const { key, flags, cas } = request
    const direction = DIRECTIONS[(flags.get('M') ?? 'I').toUpperCase()]
    if (direction === undefined) return 'CLIENT_ERROR invalid mode for ma\r\n'
    const delta = readU64(flags.get('D') ?? '1')
    const first = readU64(flags.get('J') ?? '0')
    if (delta === undefined || first === undefined) return BAD_TOKEN
    const expirySec = readExpiry(flags.get('N'))
    const initial = expirySec === undefined ? undefined : { value: first, expirySec }
    const result = entries.arithmetic({ key, direction, delta, cas, initial })
    if (typeof result !== 'bigint') {
      if (result === 'non_numeric') return NON_NUMERIC
      if (!request.isQuiet || result !== 'not_found') answerWith(output, CODES[result], request, {})
      return undefined
    }
    if (request.expirySec !== undefined) entries.touch(key, request.expirySec)
    if (request.isQuiet) return undefined
    const data = Buffer.from(result.toString())
    const facts: Facts = {
      t: () => Math.ceil((entries.peek(key)?.ttlMs ?? 0) / 1000),
      c: () => entries.casToken(key),
    }
    answerWith(output, flags.has('v') ? `VA ${data.length}` : 'HD', request, facts, data)
    return undefined
  },
}

/** Values of the flags in an answer, by letter, for flags that are not simply repeated. */
type Facts = Readonly<Record<string, () => number | bigint>>

function answerWith(
  output: ReplyBuffer,
  code: string,
  { flags, command }: MetaRequest,
  facts: Facts,
  data?: Buffer,
): void {
  output.text(code)
  if (!code.startsWith('SERVER_ERROR')) {
    for (const [letter, token] of flags) {
      const fact = facts[letter]
      if (letter === 'O') output.text(` O${token}`)
      // memcached answers ` b` to say that the key is base64, and leaves it out where it leaves out the key.
      else if (letter === 'k') output.text(` k${command.key}${flags.has('b') ? ' b' : ''}`)
      else if (fact !== undefined) output.text(` ${letter}${fact()}`)
    }
  }
  output.text('\r\n')
  if (data === undefined || !code.startsWith('VA')) return
  output.bytes(data)
  output.text('\r\n')
}

/** Checks the key and the flags; returns the error reply when one of them is wrong. */
function readRequest(command: MetaCommand): MetaRequest | string {
  const allowed = ALLOWED[command.verb]
  const flags = new Map<string, string>()
  for (const word of command.flags) {
    const letter = word.charAt(0)
    if (!allowed.includes(letter)) return INVALID_FLAG
    if (flags.has(letter)) return DUPLICATE_FLAG
    flags.set(letter, word.slice(1))
  }
  const key = flags.has('b') ? readBase64Key(command.key) : readKey(command.key)
  if (key === undefined) return BAD_FORMAT
  const cas = readToken(flags, 'C', readU64)
  const expirySec = readToken(flags, 'T', readExpiry)
  const vivifySec = readToken(flags, 'N', readExpiry)
  const isOpaqueLong = (flags.get('O') ?? '').length > MAX_OPAQUE_BYTES
  if (cas === 'bad' || expirySec === 'bad' || vivifySec === 'bad' || isOpaqueLong) return BAD_TOKEN
  return { command, key, flags, isQuiet: flags.has('q'), cas, expirySec }
}

function readToken<Value>(
  flags: ReadonlyMap<string, string>,
  letter: string,
  read: (token: string) => Value | undefined,
): Value | undefined | 'bad' {
  const token = flags.get(letter)
  return token === undefined ? undefined : (read(token) ?? 'bad')
}

function readBase64Key(text: string): Buffer | undefined {
  const key = Buffer.from(text, 'base64')
  const isKey = key.length > 0 && key.length <= MAX_KEY_BYTES && key.toString('base64') === text
  return isKey ? key : undefined
}
