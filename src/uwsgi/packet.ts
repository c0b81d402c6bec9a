// The packets of the uwsgi protocol: a header, and the dictionary that its cache commands carry. Lengths
// are little endian.
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
