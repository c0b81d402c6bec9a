// Reads ASN.1 elements in BER (ITU-T X.690) one after the other, without allocating anything per element.
//
//   identifier     1 byte: class (2 bits), constructed (1 bit), number (5 bits; 31 = number follows in base 128)
//   length         1 byte below 128 | 0x80 + n, then n bytes, highest first | 0x80: until two zero bytes
//   content
//
// It accepts every form that OpenSSL accepts, not only the shortest (DER): code that decides by the content of a
// session must be able to read each encoding that OpenSSL can read.

import { TlscachedError } from '../base/errors.ts'

export const UNIVERSAL = 0x00
export const CONTEXT_SPECIFIC = 0x80
export const INTEGER = 2
export const OCTET_STRING = 4
export const SEQUENCE = 16

const CLASS_BITS = 0xc0
const CONSTRUCTED_BIT = 0x20
const NUMBER_BITS = 0x1f
const INDEFINITE = 0x80
const END_OF_CONTENTS_BYTES = 2
/** How deep the pieces of one string may be nested: as deep as OpenSSL reads them. */
const MAX_STRING_NESTING = 6
const MAX_TAG_NUMBER = 2 ** 24
const MAX_INTEGER_BYTES = 8

export class ElementReader {
  /** Class of the current element: UNIVERSAL, CONTEXT_SPECIFIC or another value of CLASS_BITS. */
  tagClass = 0
  /** Number of the current element within its class. */
  tagNumber = 0
  isConstructed = false
  /** Offset of the content of the current element. */
  start = 0
  /** Offset after the content of the current element. */
  end = 0
  readonly #bytes: Uint8Array
  #position = 0
  #limit: number

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#limit = bytes.length
  }

  /**
   * Makes the next element the current one; false when there is none. Throws ERR_SESSION_FORMAT when it is malformed.
   */
  next(): boolean {
    if (this.#position === this.#limit) return false
    this.#position = this.#readHeader(this.#position, this.#limit)
    return true
  }

  is(tagClass: number, tagNumber: number): boolean {
    return this.tagClass === tagClass && this.tagNumber === tagNumber
  }

  /** Enters the current element: `next` then goes through the elements inside it, and never to those after it. */
  enter(): void {
    if (!this.isConstructed) throw malformed('a structure without elements')
    this.#position = this.start
    this.#limit = this.end
  }

  /** Makes the only element inside the current one the current one; throws when there are none or several. */
  unwrap(): void {
    const limit = this.end
    if (!this.isConstructed || this.#readHeader(this.start, limit) !== limit) {
      throw malformed('an explicit tag without exactly one element')
    }
  }

  /** The value of a current INTEGER of at most 8 bytes, clamped to the safe integers. */
  integer(): number {
    const { start, end } = this
    const isFitting = end > start && end - start <= MAX_INTEGER_BYTES
    if (!this.is(UNIVERSAL, INTEGER) || this.isConstructed || !isFitting) {
      throw malformed('not an integer of at most 8 bytes')
    }
    let value = ((this.#bytes[start] ?? 0) << 24) >> 24
    for (let at = start + 1; at < end; at += 1) value = value * 256 + (this.#bytes[at] ?? 0)
    return Math.max(Number.MIN_SAFE_INTEGER, Math.min(value, Number.MAX_SAFE_INTEGER))
  }

  /** The content of a current OCTET STRING: a view of the bytes read, or a copy when it consists of pieces. */
  octets(): Uint8Array {
    this.expectOctets()
    if (!this.isConstructed) return this.#bytes.subarray(this.start, this.end)
    const pieces: Uint8Array[] = []
    this.#collect(this.start, this.end, pieces, 1)
    return Buffer.concat(pieces)
  }

  /** Throws when the current element is not an OCTET STRING. */
  expectOctets(): void {
    if (!this.is(UNIVERSAL, OCTET_STRING)) throw malformed('not an octet string')
  }

  #collect(start: number, limit: number, pieces: Uint8Array[], depth: number): void {
    if (depth > MAX_STRING_NESTING) throw malformed('a string nested too deeply')
    for (let at = start; at < limit; ) {
      at = this.#readHeader(at, limit)
      if (this.isConstructed) this.#collect(this.start, this.end, pieces, depth + 1)
      else pieces.push(this.#bytes.subarray(this.start, this.end))
    }
  }

  /** Makes the element at `position` the current one and returns the offset after it. */
  #readHeader(position: number, limit: number): number {
    const isIndefinite = this.#readTagAndLength(position, limit)
    return isIndefinite ? this.#findEnd(limit) : this.end
  }

  /** Reads tag and length of an element; returns true when the length is indefinite, so that `end` is not known. */
  #readTagAndLength(position: number, limit: number): boolean {
    const identifier = this.#byteAt(position, limit)
    let at = position + 1
    this.tagClass = identifier & CLASS_BITS
    this.isConstructed = (identifier & CONSTRUCTED_BIT) !== 0
    this.tagNumber = identifier & NUMBER_BITS
    if (this.tagNumber === NUMBER_BITS) at = this.#readTagNumber(at, limit)
    let lengthBytes = this.#byteAt(at, limit)
    at += 1
    this.start = at
    if (lengthBytes === INDEFINITE) return true
    if (lengthBytes > INDEFINITE) {
      const end = at + lengthBytes - INDEFINITE
      lengthBytes = 0
      for (; at < end; at += 1) {
        lengthBytes = lengthBytes * 256 + this.#byteAt(at, limit)
        if (lengthBytes > limit) throw malformed('cut off')
      }
      this.start = at
    }
    if (lengthBytes > limit - at) throw malformed('cut off')
    this.end = at + lengthBytes
    return false
  }

  #readTagNumber(position: number, limit: number): number {
    let at = position
    let byte = 0
    this.tagNumber = 0
    do {
      byte = this.#byteAt(at, limit)
      this.tagNumber = this.tagNumber * 128 + (byte & 0x7f)
      if (this.tagNumber > MAX_TAG_NUMBER) throw malformed('a tag number too high')
      at += 1
    } while (byte >= 0x80)
    return at
  }

  /** Finds the end mark of a current element of indefinite length and returns the offset after the mark. */
  #findEnd(limit: number): number {
    const { tagClass, tagNumber, start } = this
    if (!this.isConstructed) throw malformed('an indefinite length without elements')
    let at = start
    // A counter is enough, without a stack: an end mark closes the element that was opened last.
    for (let open = 1; open > 0; ) {
      if (this.#byteAt(at, limit) === 0 && this.#byteAt(at + 1, limit) === 0) {
        open -= 1
        at += END_OF_CONTENTS_BYTES
      } else if (this.#readTagAndLength(at, limit)) {
        open += 1
        at = this.start
      } else {
        at = this.end
      }
    }
    this.tagClass = tagClass
    this.tagNumber = tagNumber
    this.isConstructed = true
    this.start = start
    this.end = at - END_OF_CONTENTS_BYTES
    return at
  }

  #byteAt(position: number, limit: number): number {
    if (position >= limit) throw malformed('cut off')
    return this.#bytes[position] ?? 0
  }
}

function malformed(what: string): TlscachedError {
  return new TlscachedError('ERR_SESSION_FORMAT', `not an encoded SSL_SESSION: ${what}`)
}
