// One ticket key: a name that every ticket shows, and secrets from which each kind of terminator takes its own part.
//
//   bytes of a record:  0..15 name | 16..47 AES key | 48..111 HMAC key
//
// The AES and HMAC keys of 16 or 32 bytes that a terminator wants are the first bytes of these. The record is the only
// copy that the node keeps: `erase` fills it with zeros.

import { inspect } from 'node:util'
import { secretBytes } from '../base/bytes.ts'
import type { RandomSource } from '../base/world.ts'
import { TICKET_NAME_BYTES, TICKET_SECRET_BYTES } from '../wire/ring-message.ts'

const AES_BYTES = 32
const RECORD_BYTES = TICKET_NAME_BYTES + TICKET_SECRET_BYTES

/** Whether a key was made by this node or came from a peer. */
export type KeyOrigin = 'self' | 'peer'

export class TicketKey {
  readonly origin: KeyOrigin
  /** The name as hexadecimal digits: public, since every ticket begins with it. */
  readonly hexName: string
  readonly #record: Buffer

  /** Takes over `record`, RECORD_BYTES that nobody else holds. */
  private constructor(record: Buffer, origin: KeyOrigin) {
    this.#record = record
    this.origin = origin
    this.hexName = record.toString('hex', 0, TICKET_NAME_BYTES)
  }

  /** Copies a name of TICKET_NAME_BYTES and secrets of TICKET_SECRET_BYTES; the caller erases what it passed. */
  static from(name: Uint8Array, secret: Uint8Array, origin: KeyOrigin): TicketKey {
    const record = secretBytes(RECORD_BYTES)
    record.set(name)
    record.set(secret, TICKET_NAME_BYTES)
    return new TicketKey(record, origin)
  }

  /**
   * Makes a random key. Its name begins with a byte that is not in `takenBytes`, because h2o tells the keys of a ring
   * apart by that byte; when all 256 are taken, any will do.
   */
  static generate(random: RandomSource, takenBytes: ReadonlySet<number> = new Set()): TicketKey {
    const drawn = random(RECORD_BYTES)
    const key = TicketKey.from(
      drawn.subarray(0, TICKET_NAME_BYTES),
      drawn.subarray(TICKET_NAME_BYTES),
      'self',
    )
    drawn.fill(0)
    const firstByte = key.firstNameByte
    for (let step = 0; step < 256; step += 1) {
      const candidate = (firstByte + step) % 256
      if (!takenBytes.has(candidate)) return key.#renamed(candidate)
    }
    return key
  }

  /** A shared view of the name. */
  get name(): Buffer {
    return this.#record.subarray(0, TICKET_NAME_BYTES)
  }

  get firstNameByte(): number {
    return this.#record[0] ?? 0
  }

  /** A shared view of the AES and HMAC keys; never keep it, never log it. */
  get secret(): Buffer {
    return this.#record.subarray(TICKET_NAME_BYTES)
  }

  /** A shared view of the AES key. */
  aes(bytes: 16 | 32): Buffer {
    return this.secret.subarray(0, bytes)
  }

  /** A shared view of the HMAC key. */
  hmac(bytes: 16 | 32 | 64): Buffer {
    return this.secret.subarray(AES_BYTES, AES_BYTES + bytes)
  }

  /** Fills the secrets with zeros; the name stays, so that late messages about the key can still name it. */
  erase(): void {
    this.secret.fill(0)
  }

  #renamed(firstByte: number): TicketKey {
    if (firstByte === this.firstNameByte) return this
    const name = Buffer.from(this.name)
    name[0] = firstByte
    const renamed = TicketKey.from(name, this.secret, this.origin)
    this.erase()
    return renamed
  }

  toString(): string {
    return `TicketKey(${this.hexName})`
  }

  toJSON(): { name: string } {
    return { name: this.hexName }
  }

  [inspect.custom](): string {
    return this.toString()
  }
}

/** Whether the bytes are all zero, as keys are that were never filled in. */
export function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0)
}
