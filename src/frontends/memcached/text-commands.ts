// Reads the commands of memcached's text protocol from the words of their lines, and checks their numbers.
//
//   get|gets <key>+                          gat|gats <expiry> <key>+
//   set|add|replace|append|prepend <key> <flags> <expiry> <bytes> [noreply]
//   cas <key> <flags> <expiry> <bytes> <token> [noreply]
//   incr|decr <key> <delta> [noreply]        touch <key> <expiry> [noreply]
//   delete <key> [0] [noreply]               flush_all [delay] [noreply]
//   stats [group]   version   verbosity <level> [noreply]   quit   lru_crawler metadump|mgdump <classes>
//   mn   mg|md|ma <key> <flag>*   ms <key> <bytes> <flag>*

import type { Arithmetic, Write, WriteMode } from './entries.ts'
import { MAX_KEY_BYTES } from './keys.ts'

export const BAD_FORMAT = 'CLIENT_ERROR bad command line format\r\n'
const BAD_CHUNK_SIZE = 'CLIENT_ERROR bad data chunk\r\n'
const BAD_EXPIRY = 'CLIENT_ERROR invalid exptime argument\r\n'
const BAD_DELTA = 'CLIENT_ERROR invalid numeric delta argument\r\n'
export const UNKNOWN = 'ERROR\r\n'

export interface MetaCommand {
  readonly type: 'meta'
  readonly verb: 'mn' | 'mg' | 'ms' | 'md' | 'ma'
  /** The key as written, which is base64 with the flag `b`. */
  readonly key: string
  readonly flags: readonly string[]
  /** The value of ms; empty for every other verb. */
  readonly data: Buffer
}

/** A get of one key. A connection reuses one object for all, since nearly every command is a get. */
export interface GetCommand {
  readonly type: 'get'
  key: Buffer
  withCas: boolean
  /** The expiry of gat and gats; undefined for get and gets. */
  expirySec: number | undefined
  /** Whether this is the last key of the line, so that END follows. */
  isLast: boolean
}

export type TextCommand =
  | GetCommand
  | { readonly type: 'write'; readonly write: Write; readonly isQuiet: boolean }
  | { readonly type: 'arithmetic'; readonly request: Arithmetic; readonly isQuiet: boolean }
  | {
      readonly type: 'touch'
      readonly key: Buffer
      readonly expirySec: number
      readonly isQuiet: boolean
    }
  | { readonly type: 'delete'; readonly key: Buffer; readonly isQuiet: boolean }
  | { readonly type: 'flush'; readonly delaySec: number; readonly isQuiet: boolean }
  | { readonly type: 'stats'; readonly group: string }
  /** Asks for the keys of all entries, as `memcached-tool dump` does; `end` is the end of such a list. */
  | { readonly type: 'dump'; readonly end: string }
  | { readonly type: 'version' | 'quit' }
  | { readonly type: 'verbosity'; readonly isQuiet: boolean }
  | MetaCommand
  /** The data is larger than any value may be, and is skipped. */
  | { readonly type: 'too_large'; readonly isQuiet: boolean; readonly valueBytes: number }
  /** The line was malformed; `isFatal` means that the rest of the input cannot be parsed. */
  | { readonly type: 'malformed'; readonly reply: string; readonly isFatal: boolean }
  /** The peer speaks another protocol: what follows must not be carried out. */
  | { readonly type: 'foreign'; readonly protocol: 'http' | 'binary' }

/** A command whose line announced data: `bytes` of them and a line end follow. */
export interface AwaitedData {
  readonly bytes: number
  /** The error reply when something else in the line is wrong, in which case the data is skipped. */
  readonly problem: string | undefined
  /** Whether the line ended in `noreply`, so that there is no answer. */
  readonly isQuiet: boolean
  readonly complete: (data: Buffer) => TextCommand
}

type Reader = (args: readonly string[]) => TextCommand | AwaitedData

/** Reads the command of a line. The words have one character per byte; the first one is the verb. */
export function readCommand(words: readonly string[]): TextCommand | AwaitedData {
  const [verb, ...args] = words
  const reader = READERS.get(verb ?? '')
  if (reader !== undefined) return reader(args)
  const protocol = foreignProtocolOf(words)
  return protocol === undefined ? malformed(UNKNOWN) : { type: 'foreign', protocol }
}

/**
 * Returns the protocol of a peer that wrote this line, which is no command. A web page can make a browser send any line
 * after the first one of a request, and any bytes within a TLS handshake, so nothing after such a line may be read as
 * commands. memcached, too, closes on a line that ends in the version of HTTP. A page whose name resolves to this
 * server may choose a command as its method, so that the first line is a command; the Host header, which browsers
 * always send, is not.
 */
function foreignProtocolOf(words: readonly string[]): 'http' | 'binary' | undefined {
  const [verb = '', target = '', ...rest] = words
  const isRequest = /^[A-Z]+$/.test(verb) && target.startsWith('/')
  const isHost = /^host:/i.test(verb)
  if (isRequest || isHost || (rest.at(-1) ?? target).startsWith('HTTP/')) return 'http'
  return /^[^\x21-\x7e\r]/.test(verb) ? 'binary' : undefined
}

export function malformed(reply: string, isFatal = false): TextCommand {
  return { type: 'malformed', reply, isFatal }
}

/** Returns the key; undefined when it is missing or too long. */
export function readKey(word: string | undefined): Buffer | undefined {
  const isKey = word !== undefined && word.length > 0 && word.length <= MAX_KEY_BYTES
  return isKey ? Buffer.from(word, 'latin1') : undefined
}

/** Reads a whole number of seconds, negative for a time in the past; undefined for anything else. */
export function readExpiry(word: string | undefined): number | undefined {
  return word !== undefined && /^-?\d{1,15}$/.test(word) ? Number(word) : undefined
}

export function readU32(word: string | undefined): number | undefined {
  if (word === undefined || !/^\d{1,10}$/.test(word)) return undefined
  const value = Number(word)
  return value <= 0xffff_ffff ? value : undefined
}

export function readU64(word: string | undefined): bigint | undefined {
  if (word === undefined || !/^\d{1,20}$/.test(word)) return undefined
  const value = BigInt(word)
  return value < 2n ** 64n ? value : undefined
}

/** Reads set and its relatives. When the size is valid and something else is wrong, the data is skipped. */
function writeReader(mode: WriteMode, hasCas: boolean): Reader {
  const last = hasCas ? 5 : 4
  return (args) => {
    const [keyWord, flagsWord, expiryWord, bytesWord] = args
    if (args.length < last) return malformed(UNKNOWN)
    const bytes = readLength(bytesWord)
    if (bytes === undefined) return malformed(BAD_CHUNK_SIZE)
    const key = readKey(keyWord)
    const flags = readU32(flagsWord)
    const expirySec = readExpiry(expiryWord)
    const cas = hasCas ? readU64(args[4]) : undefined
    const isQuiet = isNoreply(args.at(-1))
    const isCasBad = hasCas && cas === undefined
    if (key === undefined || flags === undefined || expirySec === undefined || isCasBad) {
      return { bytes, problem: BAD_FORMAT, isQuiet, complete: () => malformed(BAD_FORMAT) }
    }
    return {
      bytes,
      problem: args.length > last + 1 ? BAD_FORMAT : undefined,
      isQuiet,
      complete: (data) => ({
        type: 'write',
        write: { mode, key, flags, expirySec, data, cas },
        isQuiet,
      }),
    }
  }
}

function arithmeticReader(direction: Arithmetic['direction']): Reader {
  return ([keyWord, deltaWord, noreply]) => {
    if (deltaWord === undefined) return malformed(UNKNOWN)
    const key = readKey(keyWord)
    if (key === undefined) return malformed(BAD_FORMAT)
    const delta = readU64(deltaWord)
    if (delta === undefined) return malformed(BAD_DELTA)
    return { type: 'arithmetic', request: { key, direction, delta }, isQuiet: isNoreply(noreply) }
  }
}

const readTouch: Reader = ([keyWord, expiryWord, noreply]) => {
  if (expiryWord === undefined) return malformed(UNKNOWN)
  const key = readKey(keyWord)
  if (key === undefined) return malformed(BAD_FORMAT)
  const expirySec = readExpiry(expiryWord)
  if (expirySec === undefined) return malformed(BAD_EXPIRY)
  return { type: 'touch', key, expirySec, isQuiet: isNoreply(noreply) }
}

/** Apache sends `delete <key> 0`: a number from an old version of the protocol, which may only be 0. */
const readDelete: Reader = ([keyWord, ...rest]) => {
  if (keyWord === undefined) return malformed(UNKNOWN)
  const key = readKey(keyWord)
  const noreply = rest[0] === '0' ? rest[1] : rest[0]
  const isQuiet = isNoreply(noreply)
  const isWrong = rest.length > 2 || (noreply !== undefined && !isQuiet)
  return key === undefined || isWrong ? malformed(BAD_FORMAT) : { type: 'delete', key, isQuiet }
}

const readFlush: Reader = (args) => {
  const [first] = args
  const isQuiet = isNoreply(args.at(-1))
  const delaySec = first === undefined || isNoreply(first) ? 0 : readExpiry(first)
  return delaySec === undefined || args.length > 2
    ? malformed(BAD_FORMAT)
    : { type: 'flush', delaySec, isQuiet }
}

/** The level is required, but may be any number. */
const readVerbosity: Reader = (args) => {
  const isQuiet = isNoreply(args.at(-1))
  const [level, ...rest] = isQuiet ? args.slice(0, -1) : args
  const isRight = readU32(level) !== undefined && rest.length === 0
  if (isRight) return { type: 'verbosity', isQuiet }
  return malformed(isQuiet ? '' : UNKNOWN)
}

const readMetaSet: Reader = ([key, bytesWord, ...flags]) => {
  const bytes = readLength(bytesWord)
  if (key === undefined) return malformed(BAD_FORMAT)
  if (bytes === undefined) return malformed(BAD_CHUNK_SIZE)
  const complete = (data: Buffer): MetaCommand => ({ type: 'meta', verb: 'ms', key, flags, data })
  return { bytes, problem: undefined, isQuiet: false, complete }
}

/** A dump is answered with an empty list: the key of a session reveals its ID, in whatever format a program has. */
const readCrawler: Reader = ([action]) => {
  if (action === 'metadump') return { type: 'dump', end: 'END\r\n' }
  if (action === 'mgdump') return { type: 'dump', end: 'EN\r\n' }
  return malformed(UNKNOWN)
}

function metaReader(verb: 'mg' | 'md' | 'ma'): Reader {
  return ([key, ...flags]) =>
    key === undefined
      ? malformed(BAD_FORMAT)
      : { type: 'meta', verb, key, flags, data: Buffer.alloc(0) }
}

const READERS: ReadonlyMap<string, Reader> = new Map<string, Reader>([
  ['set', writeReader('set', false)],
  ['add', writeReader('add', false)],
  ['replace', writeReader('replace', false)],
  ['append', writeReader('append', false)],
  ['prepend', writeReader('prepend', false)],
  ['cas', writeReader('set', true)],
  ['incr', arithmeticReader('increment')],
  ['decr', arithmeticReader('decrement')],
  ['touch', readTouch],
  ['delete', readDelete],
  ['flush_all', readFlush],
  ['stats', ([group]) => ({ type: 'stats', group: group ?? '' })],
  ['lru_crawler', readCrawler],
  ['version', () => ({ type: 'version' })],
  ['verbosity', readVerbosity],
  ['quit', () => ({ type: 'quit' })],
  ['mn', () => ({ type: 'meta', verb: 'mn', key: '', flags: [], data: Buffer.alloc(0) })],
  ['mg', metaReader('mg')],
  ['ms', readMetaSet],
  ['md', metaReader('md')],
  ['ma', metaReader('ma')],
])

/** Reads the number of bytes of data that follow, which is below 2^31 as in memcached. */
function readLength(word: string | undefined): number | undefined {
  const bytes = readU32(word)
  return bytes !== undefined && bytes < 2 ** 31 ? bytes : undefined
}

function isNoreply(word: string | undefined): boolean {
  return word === 'noreply'
}
