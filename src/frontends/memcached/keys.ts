// Finds out which entry a memcached key means. TLS terminators write a session's ID into their keys as text, each in
// its own format. The ID is decoded again, so that every frontend finds the session:
//
//   mod_ssl-sess:<hex>                   Apache     the session is its DER
//   nghttpx:tls-session-cache:<hex>      nghttpx    the session is its DER
//   nginx:tls-session:<hex>              nginx      the session is its DER (deploy/terminators/nginx)
//   h2o:ssl-session-cache:<base64url>    h2o        the session is base64url of its DER
//   anything else                                   the entry has the bytes of the key for its ID
//
// Only the spelling that these programs use is recognised (lower case, no padding, 1..32 bytes), so that no two keys of
// one program mean the same entry.
//
// Scripts have key formats of their own. Such a key means a session when it contains the ID of one, 32 bytes as hex in
// either case or as base64 or base64url, and only while that session is stored (entries.ts).

/** How a key names its entry; `spelled` means that a key of no known program contains a session's ID. */
export type KeyForm = 'plain' | 'session' | 'base64url_session' | 'spelled'

export interface EntryKey {
  readonly id: Uint8Array
  readonly form: KeyForm
}

/** Longest key, as in memcached (KEY_MAX_LENGTH). */
export const MAX_KEY_BYTES = 250

export const MAX_ID_BYTES = 32
/** A key that is shorter than this contains no ID that `spelledIds` finds. */
export const MIN_SPELLED_BYTES = 43
/** Every session of OpenSSL's servers has an ID of this length; a shorter one could be in a key by chance. */
const SPELLED_ID_BYTES = 32
const HEX_DIGITS = 2 * SPELLED_ID_BYTES
const HEX_RUN = /[0-9A-Fa-f]{64,}/g
const BASE64_RUN = /[A-Za-z0-9+/_-]{43,}/g
const HEX_PREFIXES = ['mod_ssl-sess:', 'nghttpx:tls-session-cache:', 'nginx:tls-session:'].map(
  (text) => Buffer.from(text),
)
const BASE64URL_PREFIX = Buffer.from('h2o:ssl-session-cache:')

/** Returns the entry that the key from `start` to `end` means in the format of a known program, or undefined. */
export function toSessionKey(bytes: Buffer, start = 0, end = bytes.length): EntryKey | undefined {
  for (const prefix of HEX_PREFIXES) {
    if (!startsWith(bytes, start, end, prefix)) continue
    const id = readHex(bytes, start + prefix.length, end)
    if (id !== undefined) return { id, form: 'session' }
  }
  if (startsWith(bytes, start, end, BASE64URL_PREFIX)) {
    const id = readBase64url(bytes.subarray(start + BASE64URL_PREFIX.length, end))
    if (id !== undefined && id.length <= MAX_ID_BYTES) return { id, form: 'base64url_session' }
  }
  return undefined
}

/**
 * Returns the session IDs that this key may contain, in no order; most keys contain none. Other digits right beside an
 * ID make its place ambiguous, so both ends of such a run of digits are returned.
 */
export function spelledIds(key: Buffer): readonly Buffer[] {
  const text = key.toString('latin1')
  const hex = endsOfRuns(text, HEX_RUN, HEX_DIGITS)
  if (hex.length > 0) return hex.map((digits) => Buffer.from(digits, 'hex'))
  return endsOfRuns(text, BASE64_RUN, MIN_SPELLED_BYTES).flatMap((encoded) => {
    const id = Buffer.from(encoded, 'base64')
    const canonical = encoded.replaceAll('+', '-').replaceAll('/', '_')
    return id.toString('base64url') === canonical ? [id] : []
  })
}

function endsOfRuns(text: string, run: RegExp, length: number): string[] {
  return [...text.matchAll(run)].flatMap(([all]) =>
    all.length === length ? [all] : [all.slice(-length), all.slice(0, length)],
  )
}

/** Decodes base64url; undefined unless encoding the result again gives exactly these bytes. */
export function readBase64url(text: Buffer): Buffer | undefined {
  const encoded = text.toString('latin1')
  const bytes = Buffer.from(encoded, 'base64url')
  return bytes.length > 0 && bytes.toString('base64url') === encoded ? bytes : undefined
}

/** Whether the bytes begin with the prefix and have more after it. */
function startsWith(bytes: Buffer, start: number, end: number, prefix: Buffer): boolean {
  if (end - start <= prefix.length) return false
  for (let at = 0; at < prefix.length; at += 1) if (bytes[start + at] !== prefix[at]) return false
  return true
}

/** Decodes lower-case hexadecimal digits from `start` to `end`; undefined for others, or for more than MAX_ID_BYTES. */
function readHex(bytes: Buffer, start: number, end: number): Buffer | undefined {
  const digits = end - start
  if (digits % 2 !== 0 || digits > 2 * MAX_ID_BYTES) return undefined
  const id = Buffer.allocUnsafe(digits / 2)
  for (let at = 0; at < id.length; at += 1) {
    const high = digitOf(bytes[start + 2 * at] ?? 0)
    const low = digitOf(bytes[start + 2 * at + 1] ?? 0)
    if (high === -1 || low === -1) return undefined
    id[at] = high * 16 + low
  }
  return id
}

function digitOf(character: number): number {
  if (character >= 0x30 && character <= 0x39) return character - 0x30
  return character >= 0x61 && character <= 0x66 ? character - 0x57 : -1
}

// Holds the key of a connection's current get in memory of its own: creating a view of the input for every key would
// take as long as the lookup.

const SPACE = 0x20
const NOTHING = Buffer.alloc(0)

export class KeyMemory {
  #memory = NOTHING
  /** View of the last key, reused for the next one, which nearly always has the same length. */
  #key = NOTHING

  /** Returns the word that begins at `start`, valid until the next call; undefined when it is too long for a key. */
  read(bytes: Buffer, start: number, end: number): Buffer | undefined {
    // Memory is allocated by the first get, since many connections stay idle.
    if (this.#memory === NOTHING) this.#memory = Buffer.allocUnsafe(MAX_KEY_BYTES)
    const memory = this.#memory
    let length = 0
    for (let at = start; at < end && bytes[at] !== SPACE; at += 1) {
      if (length === MAX_KEY_BYTES) return undefined
      memory[length] = bytes[at] ?? 0
      length += 1
    }
    if (this.#key.length !== length) this.#key = memory.subarray(0, length)
    return this.#key
  }
}
