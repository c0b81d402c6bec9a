// Reads an encoded session, OpenSSL's SSL_SESSION (i2d_SSL_SESSION(3)): the fields that decide who may resume it and
// for how long. The master key is skipped and never looked at.
//
//   SEQUENCE
//     INTEGER       1
//     INTEGER       protocol version, 0x0303 is TLS 1.2
//     OCTET STRING  cipher, 2 bytes
//     OCTET STRING  session ID, 0..32 bytes
//     OCTET STRING  master key; resumption secret of TLS 1.3
//     then in ascending order, each explicitly tagged and each optional:
//     [1]  INTEGER       made at, seconds since 1970    [6]  OCTET STRING  server name
//     [2]  INTEGER       lifetime in seconds            [15] INTEGER       most bytes of early data
//     [3]  certificate of the client                    [16] OCTET STRING  protocol by ALPN
//     [4]  OCTET STRING  session ID context, 0..32
//   Every other tag is skipped, known or not; so are bytes after the SEQUENCE.

import { hash } from 'node:crypto'
import { asBuffer } from '../base/bytes.ts'
import { codeOf, TlscachedError } from '../base/errors.ts'
import {
  CONTEXT_SPECIFIC,
  ElementReader,
  INTEGER,
  OCTET_STRING,
  SEQUENCE,
  UNIVERSAL,
} from './asn1.ts'

export const TLS_1_3 = 0x0304

const NO_BYTES = Buffer.alloc(0)
/** First bytes of a SEQUENCE: as encoders write it, and with its number in a byte of its own. */
const SEQUENCE_IDENTIFIERS: readonly (number | undefined)[] = [0x30, 0x3f]
const STRUCTURE_VERSION = 1
const CIPHER_BYTES = 2
/** Longest session ID: OpenSSL's SSL_MAX_SSL_SESSION_ID_LENGTH. */
const MAX_ID_BYTES = 32
/** Major versions of TLS, DTLS and Cisco's early DTLS. */
const MAJOR_VERSIONS: readonly number[] = [0x03, 0xfe, 0x01]

export interface EncodedSession {
  /** 0x0303 is TLS 1.2, 0x0304 is TLS 1.3. */
  readonly protocolVersion: number
  /** Number of the cipher suite. */
  readonly cipher: number
  /** Session ID, 0..32 bytes, mostly a view of the bytes read. */
  readonly id: Uint8Array
  /** Session ID context, 0..32 bytes, mostly a view of the bytes read. */
  readonly context: Uint8Array
  /** When it was made: seconds since 1970, on the clock of the machine that made it. */
  readonly timeSec: number | undefined
  /** Lifetime in seconds, from `timeSec` on. */
  readonly timeoutSec: number | undefined
  /** End of its lifetime, `timeSec` plus `timeoutSec`; undefined when one of them is. */
  readonly expiresAtSec: number | undefined
  /** Server name (SNI), one character per byte as names in DNS are ASCII; '' when there is none. */
  readonly serverName: string
  /** Protocol negotiated by ALPN, one character per byte. */
  readonly alpn: string | undefined
  /** Most bytes of early data (0-RTT) that a client may send when it resumes the session; 0 when it may send none. */
  readonly maxEarlyData: number
  readonly hasPeerCertificate: boolean
}

type Fields = { -readonly [name in keyof EncodedSession]: EncodedSession[name] }

/** Reads an encoded session. Throws only ERR_SESSION_FORMAT, and never for bytes that OpenSSL can read. */
export function readEncodedSession(bytes: Uint8Array): EncodedSession {
  const reader = new ElementReader(bytes)
  enterElement(reader, SEQUENCE)
  enterElement(reader, INTEGER)
  if (reader.integer() !== STRUCTURE_VERSION) throw malformed('another version of the structure')
  enterElement(reader, INTEGER)
  const protocolVersion = reader.integer()
  if (!MAJOR_VERSIONS.includes(Math.floor(protocolVersion / 256))) throw malformed('no TLS version')
  enterElement(reader, OCTET_STRING)
  const cipher = readCipher(reader, bytes)
  enterElement(reader, OCTET_STRING)
  const id = readOctets(reader, MAX_ID_BYTES)
  enterElement(reader, OCTET_STRING)
  const session: Fields = {
    protocolVersion,
    cipher,
    id,
    context: NO_BYTES,
    timeSec: undefined,
    timeoutSec: undefined,
    expiresAtSec: undefined,
    serverName: '',
    alpn: undefined,
    maxEarlyData: 0,
    hasPeerCertificate: false,
  }
  readOptionalFields(reader, session)
  if (session.timeSec !== undefined && session.timeoutSec !== undefined) {
    session.expiresAtSec = session.timeSec + session.timeoutSec
  }
  return session
}

/** Reads an encoded session like `readEncodedSession`, but returns undefined for bytes that are none. */
export function tryReadEncodedSession(bytes: Uint8Array): EncodedSession | undefined {
  // The first byte identifies most other bytes, without the cost of an error.
  if (!SEQUENCE_IDENTIFIERS.includes(bytes[0])) return undefined
  try {
    return readEncodedSession(bytes)
  } catch (error) {
    if (codeOf(error) === 'ERR_SESSION_FORMAT') return undefined
    throw error
  }
}

function readOptionalFields(reader: ElementReader, session: Fields): void {
  let lastTag = -1
  while (reader.next()) {
    const tag = reader.tagNumber
    // Tags ascend, as OpenSSL demands: so no field can appear twice with two values.
    if (reader.tagClass !== CONTEXT_SPECIFIC || tag <= lastTag)
      throw malformed('fields in disorder')
    lastTag = tag
    switch (tag) {
      case 1:
        session.timeSec = readInteger(reader)
        break
      case 2:
        session.timeoutSec = readInteger(reader)
        break
      case 3:
        session.hasPeerCertificate = true
        break
      case 4:
        reader.unwrap()
        session.context = readOctets(reader, MAX_CONTEXT_BYTES)
        break
      case 6:
        session.serverName = readText(reader)
        break
      case 15:
        session.maxEarlyData = readInteger(reader) ?? 0
        break
      case 16:
        session.alpn = readText(reader)
        break
      default:
        break
    }
  }
}

function enterElement(reader: ElementReader, tagNumber: number): void {
  if (!reader.next() || !reader.is(UNIVERSAL, tagNumber)) throw malformed('another structure')
  if (tagNumber === SEQUENCE) reader.enter()
}

function readCipher(reader: ElementReader, bytes: Uint8Array): number {
  if (!reader.isConstructed && reader.end - reader.start === CIPHER_BYTES) {
    return (bytes[reader.start] ?? 0) * 256 + (bytes[reader.start + 1] ?? 0)
  }
  const cipher = reader.octets()
  if (cipher.length !== CIPHER_BYTES) throw malformed('a cipher suite is 2 bytes')
  return (cipher[0] ?? 0) * 256 + (cipher[1] ?? 0)
}

function readOctets(reader: ElementReader, maxBytes: number): Uint8Array {
  const octets = reader.octets()
  if (octets.length > maxBytes) throw malformed(`more than ${maxBytes} bytes`)
  return octets
}

/** The value of a tagged INTEGER; undefined for zero, which OpenSSL expresses by leaving the field out. */
function readInteger(reader: ElementReader): number | undefined {
  reader.unwrap()
  const value = reader.integer()
  return value === 0 ? undefined : value
}

/** The value of a tagged text, one character per byte, up to a zero byte, where OpenSSL ends such texts. */
function readText(reader: ElementReader): string {
  reader.unwrap()
  const text = asBuffer(reader.octets()).toString('latin1')
  const zero = text.indexOf('\0')
  return zero === -1 ? text : text.slice(0, zero)
}

function malformed(what: string): TlscachedError {
  return new TlscachedError('ERR_SESSION_FORMAT', `not an encoded SSL_SESSION: ${what}`)
}

// The session ID context: a session may only be resumed under the context that it was made under.

/** Longest session ID context: OpenSSL's SSL_MAX_SID_CTX_LENGTH. */
export const MAX_CONTEXT_BYTES = 32
/** Length of a context that is bound to a server name: that of a SHA-256. */
const NAME_BOUND_BYTES = 32
const ZERO_BYTE = Buffer.alloc(1)

/** The context as bytes, text as UTF-8. Throws ERR_CONTEXT above MAX_CONTEXT_BYTES; nothing is ever cut off. */
export function toContext(value: string | Uint8Array): Buffer {
  const context = typeof value === 'string' ? Buffer.from(value, 'utf8') : asBuffer(value)
  checkContext(context)
  return context
}

/** Throws ERR_CONTEXT when the context is longer than MAX_CONTEXT_BYTES. */
export function checkContext(context: Uint8Array): void {
  if (context.length <= MAX_CONTEXT_BYTES) return
  throw new TlscachedError(
    'ERR_CONTEXT',
    `a session ID context has at most ${MAX_CONTEXT_BYTES} bytes, this one has ${context.length}`,
  )
}

/**
 * The context, 32 bytes, that a Node.js server with this `sessionIdContext` writes into its sessions, in releases since
 * November 2026 (22.23.5, 24.22.3: "tls: don't allow TLS resumption to change SNI"): SHA-256 of the context, a zero
 * byte and the server name as the client sent it, one byte per character. Earlier releases write the context itself.
 */
export function nameBoundContext(context: Uint8Array, serverName: string): Buffer {
  const name = Buffer.from(serverName, 'latin1')
  return hash('sha256', Buffer.concat([context, ZERO_BYTE, name]), 'buffer')
}

/**
 * Whether `written`, the context in a session's own bytes, says that the session was made under the operator's
 * `context`: as OpenSSL writes it, or as Node.js binds it to the session's own `serverName`.
 */
export function isContextOf(written: Uint8Array, context: Uint8Array, serverName: string): boolean {
  if (isSameBytes(written, context)) return true
  if (written.length !== NAME_BOUND_BYTES) return false
  return isSameBytes(written, nameBoundContext(context, serverName))
}

/**
 * Whether both have the same bytes. The time depends on them: only for public values, as contexts and session IDs are.
 */
export function isSameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  for (let at = 0; at < a.length; at += 1) if (a[at] !== b[at]) return false
  return true
}
