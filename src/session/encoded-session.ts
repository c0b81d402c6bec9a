// What an encoded session says about itself: OpenSSL's SSL_SESSION (i2d_SSL_SESSION(3)), as much of it as
// decides who may have it and for how long. The master key is stepped over and never looked at.
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
//   Every other tag is stepped over, known or not; so is whatever follows the SEQUENCE.

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
import { MAX_CONTEXT_BYTES } from './context.ts'

export const TLS_1_3 = 0x0304

const NO_BYTES = Buffer.alloc(0)
/** First byte of a SEQUENCE as encoders write it, and with its number in a byte of its own. */
const SEQUENCE_IDENTIFIERS: readonly (number | undefined)[] = [0x30, 0x3f]
const STRUCTURE_VERSION = 1
const CIPHER_BYTES = 2
/** SSL_MAX_SSL_SESSION_ID_LENGTH. */
const MAX_ID_BYTES = 32
/** Major versions of TLS, DTLS and Cisco's early DTLS. */
const MAJOR_VERSIONS: readonly number[] = [0x03, 0xfe, 0x01]

export interface EncodedSession {
  /** 0x0303 is TLS 1.2, 0x0304 is TLS 1.3. */
  readonly protocolVersion: number
  /** Number of the cipher suite. */
  readonly cipher: number
  /** Session ID, 0..32 bytes; like `context` over the memory that was read. */
  readonly id: Uint8Array
  /** Session ID context, 0..32 bytes. */
  readonly context: Uint8Array
  /** When it was made: seconds since 1970, on the clock of the machine that made it. */
  readonly timeSec: number | undefined
  readonly timeoutSec: number | undefined
  /** Both together, when both are there. */
  readonly expiresAtSec: number | undefined
  /** Server name (SNI), '' when there is none. One character a byte: names in DNS are ASCII. */
  readonly serverName: string
  readonly alpn: string | undefined
  /** Most bytes of early data (0-RTT) a client may send with it; 0 when it may send none. */
  readonly maxEarlyData: number
  readonly hasPeerCertificate: boolean
}

type Fields = { -readonly [name in keyof EncodedSession]: EncodedSession[name] }

/** Throws ERR_SESSION_FORMAT, and nothing else; never for what OpenSSL would read. */
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

/** The same, but undefined for bytes that are something else. */
export function tryReadEncodedSession(bytes: Uint8Array): EncodedSession | undefined {
  // Most other bytes are told by the first one, without the price of an error.
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
    // Ascending, as OpenSSL wants them: so no field is there twice with two meanings.
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

/** OpenSSL writes no zeros: a zero means the same as nothing. */
function readInteger(reader: ElementReader): number | undefined {
  reader.unwrap()
  const value = reader.integer()
  return value === 0 ? undefined : value
}

/** One character a byte, up to a zero byte, where OpenSSL ends such texts. */
function readText(reader: ElementReader): string {
  reader.unwrap()
  const text = asBuffer(reader.octets()).toString('latin1')
  const zero = text.indexOf('\0')
  return zero === -1 ? text : text.slice(0, zero)
}

function malformed(what: string): TlscachedError {
  return new TlscachedError('ERR_SESSION_FORMAT', `not an encoded SSL_SESSION: ${what}`)
}
