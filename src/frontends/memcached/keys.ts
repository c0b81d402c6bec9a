// Which entry a memcached key means. TLS terminators write a session's ID into their keys as text, each
// in its own way; read back to the ID's own bytes, a session is found by every frontend alike:
//
//   mod_ssl-sess:<hex>                   Apache     the session is its DER
//   nghttpx:tls-session-cache:<hex>      nghttpx    the session is its DER
//   nginx:tls-session:<hex>              nginx      the session is its DER (deploy/terminators/nginx)
//   h2o:ssl-session-cache:<base64url>    h2o        the session is base64url of its DER
//   anything else                                   the entry has the bytes of the key for its ID
//
// Only the spelling that these programs use is recognised (lower case, no padding, 1..32 bytes): so no two
// keys of one program mean the same entry.

export type KeyForm = 'plain' | 'session' | 'base64url_session'

export interface EntryKey {
  readonly id: Uint8Array
  readonly form: KeyForm
}

/** memcached: KEY_MAX_LENGTH. */
export const MAX_KEY_BYTES = 250

export const MAX_ID_BYTES = 32
const HEX_PREFIXES = ['mod_ssl-sess:', 'nghttpx:tls-session-cache:', 'nginx:tls-session:'].map(
  (text) => Buffer.from(text),
)
const BASE64URL_PREFIX = Buffer.from('h2o:ssl-session-cache:')

export function toEntryKey(key: Buffer): EntryKey {
  return toSessionKey(key) ?? { id: key, form: 'plain' }
}

/** Of the key from `start` to `end`: undefined when its bytes are the ID. */
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

/** Undefined unless the bytes are exactly what encoding the result gives. */
export function readBase64url(text: Buffer): Buffer | undefined {
  const encoded = text.toString('latin1')
  const bytes = Buffer.from(encoded, 'base64url')
  return bytes.length > 0 && bytes.toString('base64url') === encoded ? bytes : undefined
}

/** Whether there is more than the prefix, too. */
function startsWith(bytes: Buffer, start: number, end: number, prefix: Buffer): boolean {
  if (end - start <= prefix.length) return false
  for (let at = 0; at < prefix.length; at += 1) if (bytes[start + at] !== prefix[at]) return false
  return true
}

/** Lower-case digits from `start` to `end`. */
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
