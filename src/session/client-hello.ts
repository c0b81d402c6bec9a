// Reads from a ClientHello (RFC 8446, section 4.1.2; in one or several records) which session the client wants to
// resume.
//
//   record     type 22 | version 2 | length 2 | piece of the handshake message
//   handshake  type 1  | length 3  | version 2 | random 32 | session ID <0..32> | cipher suites <2..>
//              | compression methods <1..> | extensions: (type 2 | length 2 | content)*
//
// The bytes come from unknown clients: all that is read is bounded, and malformed bytes count as no ClientHello.

export interface ClientHello {
  /** Session ID, 0..32 bytes, a copy. In TLS 1.2 it names the session to be resumed; in TLS 1.3 it means nothing. */
  readonly sessionId: Buffer
  /** Server name (SNI); '' when there is none. */
  readonly serverName: string
  /** Whether the client speaks TLS 1.3. */
  readonly offersTls13: boolean
  /** Identity of the first pre-shared key that the client offers, a copy: in TLS 1.3 the ticket of a session. */
  readonly pskIdentity: Buffer | undefined
}

/** Largest ClientHello that is read: more than any client sends, post-quantum key shares included. */
export const MAX_CLIENT_HELLO_BYTES = 32_768

const RECORD_HEADER_BYTES = 5
const HANDSHAKE_HEADER_BYTES = 4
const HANDSHAKE_RECORD = 22
const TLS_MAJOR = 3
const CLIENT_HELLO = 1
const VERSION_AND_RANDOM_BYTES = 34
const MAX_SESSION_ID_BYTES = 32

const SERVER_NAME = 0
const PRE_SHARED_KEY = 41
const SUPPORTED_VERSIONS = 43
const HOST_NAME = 0
const TLS_1_3 = 0x0304

/**
 * Reads a ClientHello that arrives in pieces. Each byte is looked at once, however small the pieces and records are.
 */
export class ClientHelloReader {
  /** Offset of the first byte that was not read yet. */
  #at = 0
  /** Bytes of the current record that were not read yet. */
  #recordLeft = 0
  /** The header of the handshake message, later its body, of which `#filled` bytes were read. */
  #part = Buffer.alloc(HANDSHAKE_HEADER_BYTES)
  #filled = 0
  /** Whether `#part` is the body. */
  #isBody = false

  /**
   * Reads on in `bytes`, all bytes that have arrived so far, and returns the ClientHello at their start: `incomplete`
   * when more bytes may complete it, undefined when they are none. Only after `incomplete` may it be called again.
   */
  read(bytes: Buffer): ClientHello | 'incomplete' | undefined {
    while (this.#filled < this.#part.length || !this.#isBody) {
      const found = this.#recordLeft === 0 ? this.#beginRecord(bytes) : this.#takePiece(bytes)
      if (found !== 'more') return found
    }
    try {
      return readMessage(this.#part)
    } catch (error) {
      if (error instanceof EndOfBytes) return undefined
      throw error
    }
  }

  #beginRecord(bytes: Buffer): 'more' | 'incomplete' | undefined {
    const at = this.#at
    if (bytes.length > at && bytes[at] !== HANDSHAKE_RECORD) return undefined
    if (bytes.length > at + 1 && bytes[at + 1] !== TLS_MAJOR) return undefined
    if (bytes.length < at + RECORD_HEADER_BYTES) return 'incomplete'
    this.#recordLeft = bytes.readUInt16BE(at + 3)
    this.#at += RECORD_HEADER_BYTES
    return this.#recordLeft === 0 ? undefined : 'more'
  }

  #takePiece(bytes: Buffer): 'more' | 'incomplete' | undefined {
    const wanted = Math.min(this.#recordLeft, this.#part.length - this.#filled)
    const copied = bytes.copy(this.#part, this.#filled, this.#at, this.#at + wanted)
    this.#at += copied
    this.#recordLeft -= copied
    this.#filled += copied
    if (!this.#isBody && this.#filled > 0 && this.#part[0] !== CLIENT_HELLO) return undefined
    if (copied < wanted) return 'incomplete'
    if (this.#isBody || this.#filled < HANDSHAKE_HEADER_BYTES) return 'more'
    const length = this.#part.readUIntBE(1, 3)
    if (HANDSHAKE_HEADER_BYTES + length > MAX_CLIENT_HELLO_BYTES) return undefined
    this.#part = Buffer.alloc(length)
    this.#filled = 0
    this.#isBody = true
    return 'more'
  }
}

function readMessage(message: Buffer): ClientHello | undefined {
  const reader = new Reader(message)
  reader.take(VERSION_AND_RANDOM_BYTES)
  const sessionId = reader.vector(1)
  if (sessionId.length > MAX_SESSION_ID_BYTES) return undefined
  reader.vector(2)
  reader.vector(1)
  let serverName = ''
  let offersTls13 = false
  let pskIdentity: Buffer | undefined
  // Very old clients send no extensions: their message ends here.
  const extensions = new Reader(reader.isAtEnd ? Buffer.alloc(0) : reader.vector(2))
  while (!extensions.isAtEnd) {
    const type = extensions.number(2)
    const content = new Reader(extensions.vector(2))
    if (type === SERVER_NAME) serverName = readServerName(content)
    else if (type === SUPPORTED_VERSIONS) offersTls13 = readVersions(content).includes(TLS_1_3)
    else if (type === PRE_SHARED_KEY) pskIdentity = readFirstIdentity(content)
  }
  return { sessionId: Buffer.from(sessionId), serverName, offersTls13, pskIdentity }
}

/** The host name, one character per byte as names in DNS are ASCII; '' when there is none. */
function readServerName(content: Reader): string {
  const names = new Reader(content.vector(2))
  while (!names.isAtEnd) {
    const type = names.number(1)
    const name = names.vector(2)
    if (type === HOST_NAME) return name.toString('latin1')
  }
  return ''
}

function readVersions(content: Reader): number[] {
  const versions = new Reader(content.vector(1))
  const offered: number[] = []
  while (!versions.isAtEnd) offered.push(versions.number(2))
  return offered
}

function readFirstIdentity(content: Reader): Buffer {
  return Buffer.from(new Reader(content.vector(2)).vector(2))
}

class EndOfBytes extends Error {}

/** Reads numbers and vectors one after the other; throws EndOfBytes when there are not enough bytes. */
class Reader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length
  }

  take(count: number): Buffer {
    if (this.#at + count > this.#bytes.length) throw new EndOfBytes()
    this.#at += count
    return this.#bytes.subarray(this.#at - count, this.#at)
  }

  number(byteCount: number): number {
    return this.take(byteCount).readUIntBE(0, byteCount)
  }

  /** Reads a vector: a number of `countBytes` bytes, then as many bytes as it says, which are returned. */
  vector(countBytes: number): Buffer {
    return this.take(this.number(countBytes))
  }
}
