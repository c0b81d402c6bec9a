// Certificate revocation lists (RFC 5280, section 5) for the certificates of clients. OpenSSL checks them in full
// handshakes only; the lists read here also find a revoked client that resumes a session.
//
//   SEQUENCE
//     SEQUENCE     [version] | signature algorithm | issuer | this update | [next update]
//                  | [SEQUENCE of SEQUENCE: serial number | date | ...] | [0: extensions]
//     SEQUENCE     signature algorithm: object identifier | parameters
//     BIT STRING   signature of the first SEQUENCE

import { verify, X509Certificate } from 'node:crypto'
import { type Clock, every, type Logger, LogLimiter, type Timer } from '../base/world.ts'
import { ElementReader } from '../session/asn1.ts'
import { ConfigError, settingError } from '../settings/errors.ts'

const INTEGER = 0x02
const BIT_STRING = 0x03
const OBJECT_IDENTIFIER = 0x06
const UTC_TIME = 0x17
const GENERALIZED_TIME = 0x18
const SEQUENCE = 0x30
const EXTENSIONS = 0xa0
const BOOLEAN_TRUE = '0101ff'

/**
 * Hash function by the object identifier (in hex) of a signature algorithm; null when the algorithm includes its
 * own.
 */
const HASHES: ReadonlyMap<string, string | null> = new Map([
  ['2a864886f70d010105', 'sha1'],
  ['2a864886f70d01010b', 'sha256'],
  ['2a864886f70d01010c', 'sha384'],
  ['2a864886f70d01010d', 'sha512'],
  ['2a8648ce3d040302', 'sha256'],
  ['2a8648ce3d040303', 'sha384'],
  ['2a8648ce3d040304', 'sha512'],
  ['2b6570', null],
  ['2b6571', null],
])

/** Time between two checks whether a list has expired. */
const WATCH_PERIOD_MS = 60_000
/** Shortest time between two warnings about an expired list. */
const WARNING_PERIOD_MS = 3_600_000

interface RevocationList {
  readonly issuer: X509Certificate
  readonly thisUpdateMs: number
  /** Time at which the list expires; Infinity when it does not say. */
  readonly nextUpdateMs: number
  /** Serial numbers of revoked certificates in lower-case hexadecimal digits without leading zeros. */
  readonly serials: ReadonlySet<string>
}

/** The revocation lists of all authorities whose certificates clients may present; each authority must have one. */
export class Revocations {
  /** The lists, each as one PEM text, because Node.js reads only the first list of a text. */
  readonly pems: readonly string[]
  readonly #lists: readonly RevocationList[]
  /** Authorities that are revoked, and those below them. */
  readonly #revokedIssuers: readonly X509Certificate[]

  /**
   * Reads the lists in `pem`; `clientCa` is the PEM text of the authorities. Throws ERR_CONFIG for a list that
   * cannot be used, and for an authority without a list.
   */
  constructor(pem: string, clientCa: string) {
    const authorities = blocksOf(clientCa, 'CERTIFICATE').map((one) => new X509Certificate(one))
    this.pems = blocksOf(pem, 'X509 CRL')
    if (this.pems.length === 0) throw wrong('the file has no "BEGIN X509 CRL"')
    this.#lists = this.pems.map((one, index) => readList(one, index + 1, authorities))
    for (const authority of authorities) {
      const isListed = this.#lists.some(({ issuer }) => issuer === authority)
      if (!isListed) {
        const name = nameOf(authority)
        throw wrong(
          `it has no list of ${name}, which client_ca trusts: its clients would be refused`,
        )
      }
    }
    const revoked = new Set(authorities.filter((one) => this.#isListed(one)))
    for (let size = -1; size < revoked.size; ) {
      size = revoked.size
      for (const one of authorities) {
        if ([...revoked].some((issuer) => one.checkIssued(issuer))) revoked.add(one)
      }
    }
    this.#revokedIssuers = [...revoked]
  }

  isRevoked(certificate: X509Certificate): boolean {
    if (this.#isListed(certificate)) return true
    return this.#revokedIssuers.some((issuer) => certificate.checkIssued(issuer))
  }

  /** Throws ERR_CONFIG when a list is not valid at this time, in milliseconds since 1970. */
  checkTimes(nowMs: number): void {
    for (const { issuer, thisUpdateMs } of this.#lists) {
      if (thisUpdateMs <= nowMs) continue
      throw wrong(`the list of ${nameOf(issuer)} is valid only from ${formatTime(thisUpdateMs)}`)
    }
    const expired = this.expiredAt(nowMs)
    if (expired !== undefined) throw wrong(`${expired}: get a new one from the authority`)
  }

  /**
   * Returns a sentence about the first list that has expired at this time (milliseconds since 1970), or undefined.
   */
  expiredAt(nowMs: number): string | undefined {
    const expired = this.#lists.find(({ nextUpdateMs }) => nextUpdateMs < nowMs)
    return (
      expired &&
      `the list of ${nameOf(expired.issuer)} expired at ${formatTime(expired.nextUpdateMs)}`
    )
  }

  #isListed(certificate: X509Certificate): boolean {
    const serial = withoutZeros(certificate.serialNumber)
    return this.#lists.some(
      ({ issuer, serials }) => serials.has(serial) && certificate.checkIssued(issuer),
    )
  }
}

/**
 * Warns once an hour while a list is out of date, until the returned timer is cancelled. `current` returns the lists
 * in use.
 */
export function warnWhenExpired(
  current: () => Revocations | undefined,
  clock: Clock,
  logger: Logger,
): Timer {
  const warnings = new LogLimiter({ clock, logger }, WARNING_PERIOD_MS)
  return every(clock, WATCH_PERIOD_MS, () => {
    const problem = current()?.expiredAt(clock.wallMs())
    if (problem === undefined) return
    warnings.pass(() => {
      logger.warn(
        { problem },
        'client_crl is out of date: no client certificate passes a full handshake, sessions resume until ' +
          'their timeout; put a new list into the file and send SIGHUP',
      )
    })
  })
}

function readList(pem: string, number: number, authorities: readonly X509Certificate[]) {
  try {
    return parseList(derOf(pem), authorities)
  } catch (error) {
    // The messages of the ASN.1 reader are about sessions, so they are replaced.
    const problem = error instanceof ConfigError ? error.problems[0] : undefined
    throw wrong(`list ${number}: ${problem?.message ?? 'it is not a CRL'}`)
  }
}

function parseList(der: Buffer, authorities: readonly X509Certificate[]): RevocationList {
  const [signed, algorithm, signature] = elementsOf(need(elementsOf(der)[0], SEQUENCE).content)
  const oid = need(elementsOf(need(algorithm, SEQUENCE).content)[0], OBJECT_IDENTIFIER).content
  const { whole, content } = need(signed, SEQUENCE)
  // The first byte of a bit string is the number of unused bits at its end.
  const signatureBytes = need(signature, BIT_STRING).content.subarray(1)
  const issuer = findSigner(whole, signatureBytes, oid.toString('hex'), authorities)
  const fields = elementsOf(content)
  if (fields[0]?.tag === INTEGER) fields.shift()
  const [, , thisUpdate, ...rest] = fields
  const hasNext = rest[0]?.tag === UTC_TIME || rest[0]?.tag === GENERALIZED_TIME
  const nextUpdateMs = hasNext ? readTime(rest.shift()) : Number.POSITIVE_INFINITY
  const entries = rest[0]?.tag === SEQUENCE ? elementsOf(rest.shift()?.content ?? der) : []
  refuseExtensions(rest)
  const serials = entries.map((entry) => {
    const [serial] = elementsOf(need(entry, SEQUENCE).content)
    return withoutZeros(need(serial, INTEGER).content.toString('hex'))
  })
  return { issuer, thisUpdateMs: readTime(thisUpdate), nextUpdateMs, serials: new Set(serials) }
}

function findSigner(
  signed: Buffer,
  signature: Buffer,
  oid: string,
  authorities: readonly X509Certificate[],
): X509Certificate {
  const hash = HASHES.get(oid)
  if (hash === undefined) {
    throw wrong('it is signed with an algorithm other than RSA, ECDSA and EdDSA')
  }
  const signer = authorities.find(({ publicKey }) => {
    try {
      return verify(hash, signed, publicKey, signature)
    } catch {
      // The key is of another type than the signature.
      return false
    }
  })
  if (signer === undefined) throw wrong('no certificate of client_ca has signed it')
  return signer
}

/** Throws for a critical extension, which changes what a list means: it may be partial, or name other issuers. */
function refuseExtensions(rest: readonly Element[]): void {
  const [extensions] = rest.filter(({ tag }) => tag === EXTENSIONS)
  if (extensions === undefined) return
  for (const extension of elementsOf(need(elementsOf(extensions.content)[0], SEQUENCE).content)) {
    const [, critical] = elementsOf(extension.content)
    if (critical?.whole.toString('hex') !== BOOLEAN_TRUE) continue
    throw wrong(
      'it has a critical extension: lists that are partial, indirect or a delta do not work here',
    )
  }
}

interface Element {
  /** Identifier byte. */
  readonly tag: number
  readonly content: Buffer
  /** The element with its identifier and length. */
  readonly whole: Buffer
}

function elementsOf(der: Buffer): Element[] {
  const reader = new ElementReader(der)
  const elements: Element[] = []
  for (let at = 0; reader.next(); at = reader.end) {
    const content = der.subarray(reader.start, reader.end)
    elements.push({ tag: der[at] ?? 0, content, whole: der.subarray(at, reader.end) })
  }
  return elements
}

function need(element: Element | undefined, tag: number): Element {
  if (element?.tag !== tag) throw new Error('another structure')
  return element
}

/** Returns milliseconds since 1970. Two digits of a year mean 1950..2049 (RFC 5280, section 4.1.2.5.1). */
function readTime(element: Element | undefined): number {
  const text = element?.content.toString('latin1') ?? ''
  const isShort = element?.tag === UTC_TIME
  const digits = isShort ? `${Number(text.slice(0, 2)) >= 50 ? '19' : '20'}${text}` : text
  const [, year, month, day, hour, minute, second] =
    /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(digits) ?? []
  const timeMs = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`)
  if (Number.isNaN(timeMs)) throw new Error('not a time')
  return timeMs
}

function formatTime(timeMs: number): string {
  return new Date(timeMs).toISOString()
}

function nameOf(certificate: X509Certificate): string {
  return certificate.subject.replaceAll('\n', ', ')
}

function withoutZeros(hex: string): string {
  return hex.toLowerCase().replace(/^0+(?=.)/, '')
}

function blocksOf(pem: string, label: string): string[] {
  return pem.match(new RegExp(`-----BEGIN ${label}-----[^-]*-----END ${label}-----`, 'g')) ?? []
}

function derOf(pem: string): Buffer {
  return Buffer.from(pem.replace(/-----[^-]+-----/g, ''), 'base64')
}

function wrong(reason: string): ConfigError {
  return settingError('client_crl', reason)
}
