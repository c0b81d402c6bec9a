// The packets of the uwsgi protocol, a header and the dictionary that its cache commands carry, and the datagrams of its
// cache-udp-node. Lengths are little endian.
//
//   offset  size  field
//        0     1  modifier1: 111 for the cache
//        1     2  size of the body
//        3     1  modifier2: the operation
//        4        body; a dictionary is a sequence of pairs: u16 length, key, u16 length, value

export const PACKET_HEADER_BYTES = 4
export const MODIFIER_CACHE = 111

const LENGTH_BYTES = 2
/** Most different keys in a dictionary; our longest request has five. */
const MAX_PAIRS = 16

export interface PacketHeader {
  readonly modifier1: number
  readonly bodyBytes: number
  readonly modifier2: number
}

/** Reads the header at the start of `bytes`, which must have at least PACKET_HEADER_BYTES. */
export function readHeader(bytes: Buffer): PacketHeader {
  return {
    modifier1: bytes.readUInt8(0),
    bodyBytes: bytes.readUInt16LE(1),
    modifier2: bytes.readUInt8(3),
  }
}

/**
 * Returns the pairs of a dictionary; their values are views of `body`. Returns undefined when a field reaches
 * beyond the end, a key has two different values, or there are more than MAX_PAIRS keys. A repeated pair is fine:
 * uWSGI's own client sends `size` twice in every set.
 */
export function parseDictionary(body: Buffer): ReadonlyMap<string, Buffer> | undefined {
  const pairs = new Map<string, Buffer>()
  let at = 0
  const take = () => {
    if (at + LENGTH_BYTES > body.length) return undefined
    const start = at + LENGTH_BYTES
    const end = start + body.readUInt16LE(at)
    at = end
    return end > body.length ? undefined : body.subarray(start, end)
  }
  while (at < body.length) {
    const key = take()
    const value = key && take()
    if (key === undefined || value === undefined) return undefined
    const name = key.toString('latin1')
    const known = pairs.get(name)
    if (known === undefined && pairs.size === MAX_PAIRS) return undefined
    if (known !== undefined && !known.equals(value)) return undefined
    pairs.set(name, value)
  }
  return pairs
}

/** Returns a whole packet with a dictionary as its body. */
export function formatDictionary(
  modifier2: number,
  pairs: readonly (readonly [key: string, value: string | Uint8Array])[],
): Buffer {
  const fields = pairs.flat().flatMap((field) => {
    const bytes = Buffer.from(field)
    const length = Buffer.allocUnsafe(LENGTH_BYTES)
    length.writeUInt16LE(bytes.length)
    return [length, bytes]
  })
  const body = Buffer.concat(fields)
  const header = Buffer.from([MODIFIER_CACHE, 0, 0, modifier2])
  header.writeUInt16LE(body.length, 1)
  return Buffer.concat([header, body])
}

// The datagrams of uWSGI's cache-udp (uWSGI: core/cache.c, cache_send_udp_command and
// cache_udp_server_loop). One datagram is one operation; lengths are little endian.
//
//   offset  size  field
//        0     1  modifier1: 111
//        1     2  size of what follows the header of 4 bytes
//        3     1  modifier2: 10 set or update, 11 delete
//        4     2  length of the key, k
//        6     k  key: the session ID
//      6+k     2  length of the value, v                   \
//      8+k     v  value: the encoded session                | set only; the receiver takes the last
//    8+k+v     2  length of the expiry, e                   | two as optional
//   10+k+v     e  expiry: decimal digits, seconds since 1970, "0" for never
//
// The delete that uWSGI sends ends with the key, and every uWSGI receiver drops it, because it expects two more bytes.
// We append two zero bytes, counted in the size, and then the receiver carries the delete out.

export const MODIFIER_SET = 10
export const MODIFIER_DELETE = 11

const KEY_AT = 6
/** Largest UDP payload over IPv4, the only IP version that uWSGI's sockets support. */
export const MAX_DATAGRAM_BYTES = 65_507
/** Expiry in seconds since 1970; ten digits last until the year 2286. */
const EXPIRY = /^\d{1,10}$/

/** Why bytes are not a valid datagram. `expiry` also counts times more than a year ahead. */
export const MALFORMED_REASONS = {
  short: 'it is shorter than the smallest one',
  modifier: 'modifier1 or modifier2 is none of a cache operation',
  size: 'the size field differs from the real size',
  truncated: 'a field reaches beyond the end',
  trailing: 'bytes follow the last field',
  empty: 'the key or the value has no bytes',
  expiry: 'the expiry is not a decimal number of at most ten digits, or is more than a year ahead',
} as const
export type MalformedReason = keyof typeof MALFORMED_REASONS

/** One operation; its buffers are views of the datagram, not copies. */
export type CacheOperation =
  | {
      readonly kind: 'set'
      readonly key: Buffer
      readonly value: Buffer
      /** Expiry time in seconds since 1970; 0 means that the session never expires. */
      readonly expiresAtSec: number
    }
  | { readonly kind: 'delete'; readonly key: Buffer }

export function parseCacheDatagram(datagram: Buffer): CacheOperation | MalformedReason {
  const { length } = datagram
  if (length < PACKET_HEADER_BYTES + LENGTH_BYTES) return 'short'
  const kind = datagram.readUInt8(3)
  const isSet = kind === MODIFIER_SET
  if (datagram[0] !== MODIFIER_CACHE || !(isSet || kind === MODIFIER_DELETE)) return 'modifier'
  if (datagram.readUInt16LE(1) !== length - PACKET_HEADER_BYTES) return 'size'
  const keyEnd = KEY_AT + datagram.readUInt16LE(PACKET_HEADER_BYTES)
  if (keyEnd > length) return 'truncated'
  const key = datagram.subarray(KEY_AT, keyEnd)
  if (key.length === 0) return 'empty'
  if (isSet) return parseSet(datagram, key, keyEnd)
  const padBytes = length - keyEnd
  if (padBytes !== 0 && padBytes !== LENGTH_BYTES) return 'trailing'
  return { kind: 'delete', key }
}

function parseSet(datagram: Buffer, key: Buffer, keyEnd: number): CacheOperation | MalformedReason {
  const value = fieldAt(datagram, keyEnd)
  if (value === undefined) return 'truncated'
  if (value.length === 0) return 'empty'
  const valueEnd = keyEnd + LENGTH_BYTES + value.length
  if (valueEnd === datagram.length) return { kind: 'set', key, value, expiresAtSec: 0 }
  const expiry = fieldAt(datagram, valueEnd)
  if (expiry === undefined) return 'truncated'
  if (valueEnd + LENGTH_BYTES + expiry.length !== datagram.length) return 'trailing'
  if (expiry.length === 0) return { kind: 'set', key, value, expiresAtSec: 0 }
  const digits = expiry.toString('latin1')
  if (!EXPIRY.test(digits)) return 'expiry'
  return { kind: 'set', key, value, expiresAtSec: Number(digits) }
}

/** Returns a view of the field whose length is at offset `at`, or undefined when it reaches beyond the end. */
function fieldAt(datagram: Buffer, at: number): Buffer | undefined {
  const start = at + LENGTH_BYTES
  if (start > datagram.length) return undefined
  const end = start + datagram.readUInt16LE(at)
  return end > datagram.length ? undefined : datagram.subarray(start, end)
}

/** Returns the datagram of a set, or undefined when it would be larger than MAX_DATAGRAM_BYTES. */
export function formatSet(
  key: Uint8Array,
  value: Uint8Array,
  expiresAtSec: number,
): Buffer | undefined {
  const expiry = String(expiresAtSec)
  const length = KEY_AT + key.length + LENGTH_BYTES + value.length + LENGTH_BYTES + expiry.length
  if (length > MAX_DATAGRAM_BYTES) return undefined
  const datagram = allocate(length, MODIFIER_SET)
  let at = writeField(datagram, PACKET_HEADER_BYTES, key)
  at = writeField(datagram, at, value)
  datagram.writeUInt16LE(expiry.length, at)
  datagram.write(expiry, at + LENGTH_BYTES, 'latin1')
  return datagram
}

/** Returns the datagram of a delete, with the two zero bytes that uWSGI's receivers need. */
export function formatDelete(key: Uint8Array): Buffer {
  const datagram = allocate(KEY_AT + key.length + LENGTH_BYTES, MODIFIER_DELETE)
  const end = writeField(datagram, PACKET_HEADER_BYTES, key)
  datagram.writeUInt16LE(0, end)
  return datagram
}

function allocate(length: number, modifier2: number): Buffer {
  const datagram = Buffer.allocUnsafe(length)
  datagram[0] = MODIFIER_CACHE
  datagram.writeUInt16LE(length - PACKET_HEADER_BYTES, 1)
  datagram[3] = modifier2
  return datagram
}

/** Writes a length and the bytes at offset `at`, and returns the offset behind them. */
function writeField(datagram: Buffer, at: number, bytes: Uint8Array): number {
  datagram.writeUInt16LE(bytes.length, at)
  datagram.set(bytes, at + LENGTH_BYTES)
  return at + LENGTH_BYTES + bytes.length
}
