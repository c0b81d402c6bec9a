// Parses a request of uWSGI's cache commands: a packet with modifier1 111 and modifier2 17, its dictionary, and after
// that the value that a set or an update stores.

import {
  MODIFIER_CACHE,
  PACKET_HEADER_BYTES,
  parseDictionary,
  readHeader,
} from '../../uwsgi/packet.ts'
import type { InputBuffer } from '../memcached/input-buffer.ts'

export const MODIFIER_COMMAND = 17
/** Value of modifier2 in a request for the raw memory of a cache, which holds every secret in it. */
const MODIFIER_DUMP = 6

export const COMMANDS = ['get', 'set', 'update', 'exists', 'del', 'clear'] as const
export type CommandName = (typeof COMMANDS)[number]

export interface CommandRequest {
  readonly command: CommandName
  /** Name of a cache; undefined means the default cache. */
  readonly cache: string | undefined
  /** Empty only for `clear`. */
  readonly key: Buffer
  /** Length of the value that follows. */
  readonly valueBytes: number
  /** Lifetime in seconds; 0 asks for the longest that the cache allows. */
  readonly lifetimeSec: number
}

/** `starved`: more bytes must come first. Every other fault ends the connection. */
export type RequestFault = 'starved' | 'malformed' | 'unsupported' | 'dump'

const DIGITS = /^\d{1,10}$/

/** Takes a request from the input when it is complete; its value stays in the input. */
export function takeRequest(input: InputBuffer): CommandRequest | RequestFault {
  if (input.length < PACKET_HEADER_BYTES) return 'starved'
  const { modifier1, bodyBytes, modifier2 } = readHeader(input.peek(PACKET_HEADER_BYTES))
  if (modifier1 !== MODIFIER_CACHE) return 'malformed'
  if (modifier2 === MODIFIER_DUMP) return 'dump'
  if (modifier2 !== MODIFIER_COMMAND) return 'unsupported'
  if (input.length < PACKET_HEADER_BYTES + bodyBytes) return 'starved'
  input.skip(PACKET_HEADER_BYTES)
  const pairs = parseDictionary(input.take(bodyBytes))
  return pairs === undefined ? 'malformed' : toRequest(pairs)
}

function toRequest(pairs: ReadonlyMap<string, Buffer>): CommandRequest | RequestFault {
  const word = pairs.get('cmd')?.toString('latin1')
  if (word === undefined) return 'malformed'
  const command = COMMANDS.find((known) => known === word)
  if (command === undefined) return 'unsupported'
  const key = pairs.get('key') ?? Buffer.alloc(0)
  const valueBytes = numberOf(pairs.get('size'))
  const lifetimeSec = numberOf(pairs.get('expires'))
  const isWrite = command === 'set' || command === 'update'
  if (valueBytes === undefined || lifetimeSec === undefined) return 'malformed'
  if (isWrite !== valueBytes > 0) return 'malformed'
  if ((key.length === 0) !== (command === 'clear')) return 'malformed'
  const cache = pairs.get('cache')?.toString('latin1')
  return { command, cache: cache === '' ? undefined : cache, key, valueBytes, lifetimeSec }
}

/** Reads a number of up to ten digits; 0 when there are none, undefined for anything else. */
function numberOf(digits: Buffer | undefined): number | undefined {
  if (digits === undefined || digits.length === 0) return 0
  const text = digits.toString('latin1')
  return DIGITS.test(text) ? Number(text) : undefined
}
