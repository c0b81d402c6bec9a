// What a TLS client can tell about a session that a server gave it: by which mechanism it resumes, under which ticket
// key it was sealed, and for how long the server says that it lasts. The secrets in it are never looked at.
//
// A ticket of OpenSSL and of nearly every other server is laid out as follows; one of at most 32 bytes is no sealed
// session but the ID of one that the server keeps (a stateful ticket):
//
//   0       16  name of the ticket key
//   16      16  initialization vector
//   32       n  encrypted session
//   32 + n  32  HMAC-SHA256 over everything before

import { createHmac } from 'node:crypto'
import { asBuffer } from '../base/bytes.ts'
import { CONTEXT_SPECIFIC, ElementReader } from '../session/asn1.ts'
import { isSameBytes, readEncodedSession, TLS_1_3 } from '../session/encoded-session.ts'

/** How a session resumes: by its ID, by a ticket that is only an ID (TLS 1.3), by a sealed ticket, or not at all. */
export const MECHANISMS = ['session_id', 'stateful_ticket', 'ticket', 'none'] as const
export type Mechanism = (typeof MECHANISMS)[number]

export interface ClientSession {
  /** Encoded session, to be offered in a later handshake. A secret: never printed. */
  readonly bytes: Buffer
  readonly mechanism: Mechanism
  /** The ticket, empty without one; a shared view. Nobody but the server can open it. */
  readonly ticket: Buffer
  /** Name of the ticket key in hex, 32 digits; undefined for what is not a sealed ticket. */
  readonly keyName: string | undefined
  /** Whether the ticket's HMAC was made with a key of zeros, so that everybody could change the ticket. */
  readonly hasZeroMac: boolean
  /** Lifetime in seconds that the server promised with the ticket; undefined without a ticket or a promise. */
  readonly lifetimeSec: number | undefined
  /** Whether the server takes early data with it, which no shared cache may store. */
  readonly takesEarlyData: boolean
}

const KEY_NAME_BYTES = 16
const IV_BYTES = 16
const MAC_BYTES = 32
/** One block of AES at least. */
const LEAST_SEALED_BYTES = 16
/** Longest session ID, so the longest stateful ticket. */
const MAX_ID_BYTES = 32
/** Any number of zeros up to 64 is the same key for HMAC-SHA256. */
const ZERO_KEY = Buffer.alloc(32)
/** Version of the structure, of TLS, cipher, session ID and master key stand before the tagged fields. */
const FIELDS_BEFORE_TAGS = 5
const LIFETIME_HINT_TAG = 9
const TICKET_TAG = 10

/**
 * What Node.js releases since November 2026 put before the session of a client, as seen in 22.23.5, 24.22.3 and 26.12.1:
 * this text, the length of the server name in two bytes, and the name, under which alone they offer the session again.
 */
const NAME_BINDING = Buffer.from('\0nodejs:tls:session:1\0', 'latin1')
const NAME_LENGTH_BYTES = 2

/** Reads the session of a client, as Node.js gives it out. Throws ERR_SESSION_FORMAT when the bytes are none. */
export function readClientSession(bytes: Buffer): ClientSession {
  const encoded = encodedSessionIn(bytes)
  const { protocolVersion, id, maxEarlyData } = readEncodedSession(encoded)
  const { ticket, lifetimeSec } = readTicketFields(encoded)
  const mechanism = mechanismOf(protocolVersion, id, ticket)
  const isLaidOut =
    mechanism === 'ticket' &&
    ticket.length >= KEY_NAME_BYTES + IV_BYTES + LEAST_SEALED_BYTES + MAC_BYTES
  return {
    bytes,
    mechanism,
    ticket,
    keyName: isLaidOut ? ticket.toString('hex', 0, KEY_NAME_BYTES) : undefined,
    hasZeroMac: isLaidOut && isZeroMac(ticket),
    lifetimeSec: ticket.length === 0 ? undefined : lifetimeSec,
    takesEarlyData: maxEarlyData > 0,
  }
}

function encodedSessionIn(bytes: Buffer): Buffer {
  const nameAt = NAME_BINDING.length + NAME_LENGTH_BYTES
  const isBound =
    bytes.length >= nameAt && bytes.subarray(0, NAME_BINDING.length).equals(NAME_BINDING)
  return isBound ? bytes.subarray(nameAt + bytes.readUInt16BE(NAME_BINDING.length)) : bytes
}

function mechanismOf(protocolVersion: number, id: Uint8Array, ticket: Buffer): Mechanism {
  if (ticket.length > 0) return ticket.length > MAX_ID_BYTES ? 'ticket' : 'stateful_ticket'
  return protocolVersion !== TLS_1_3 && id.length > 0 ? 'session_id' : 'none'
}

function isZeroMac(ticket: Buffer): boolean {
  const end = ticket.length - MAC_BYTES
  const mac = createHmac('sha256', ZERO_KEY).update(ticket.subarray(0, end)).digest()
  return isSameBytes(mac, ticket.subarray(end))
}

function readTicketFields(bytes: Buffer): { ticket: Buffer; lifetimeSec: number | undefined } {
  const reader = new ElementReader(bytes)
  let ticket: Buffer = Buffer.alloc(0)
  let lifetimeSec: number | undefined
  reader.next()
  reader.enter()
  for (let field = 0; field < FIELDS_BEFORE_TAGS; field += 1) reader.next()
  while (reader.next()) {
    if (reader.is(CONTEXT_SPECIFIC, LIFETIME_HINT_TAG)) {
      reader.unwrap()
      lifetimeSec = reader.integer() || undefined
    } else if (reader.is(CONTEXT_SPECIFIC, TICKET_TAG)) {
      reader.unwrap()
      ticket = asBuffer(reader.octets())
    }
  }
  return { ticket, lifetimeSec }
}
