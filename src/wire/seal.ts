// Seals and opens datagrams with AES-256-GCM, under a key per sender and boot. In form 1 the nonce is made of channel
// and sequence. In form 2 it is a keyed hash over header and message: two copies of one running machine, which both go
// on with the same key and sequence, never seal two different datagrams under one nonce.
//
// OpenSSL takes longer to make a cipher than to use it. In form 1 both ends know the next nonce beforehand, so they
// make the cipher for the next datagram with changes early: the sender while it is idle, the receiver when it is done
// with the datagram before. In form 2 the nonce is not known beforehand.

import {
  type CipherGCM,
  createCipheriv,
  createDecipheriv,
  type DecipherGCM,
  hash,
  type KeyObject,
} from 'node:crypto'
import { TlscachedError } from '../base/errors.ts'
import {
  type Channel,
  ciphertextAt,
  createHeader,
  type Form,
  HEADER_BYTES,
  type Header,
  MAX_SEQUENCE,
  NONCE_BYTES,
  TAG_BYTES,
  writeNonce,
  writePosition,
} from './datagram.ts'
import type { Identity } from './identity.ts'
import type { Keyring, KeySource } from './keyring.ts'

const ALGORITHM = 'aes-256-gcm'
const TAG_OPTIONS = { authTagLength: TAG_BYTES }

/** Seals all datagrams of one boot of one node. There is one per boot, as a sequence number must not be used twice. */
export class Sealer {
  /** Bytes that sealing adds to a message. */
  readonly overheadBytes: number
  readonly #identity: Identity
  readonly #form: Form
  readonly #lastSequence: Record<Channel, number> = { changes: 0, control: 0 }
  /**
   * Nonce of the datagram, overwritten for each cipher, which copies it. Native code that is given a new array of this
   * size moves it out of the JavaScript heap first (measured: a third of the time that it takes to make a cipher).
   */
  readonly #nonce = Buffer.alloc(NONCE_BYTES)
  readonly #keys: KeySource
  /** Ring whose primary key the three fields below are made of. */
  #keyring: Keyring
  #key: KeyObject
  #nonceKey: Buffer
  /** Header of the next datagram, whose channel and sequence are still to be written. */
  #header: Buffer
  /** Memory for the bytes whose hash is the nonce of form 2; used again for each datagram. */
  #hashed = Buffer.alloc(0)
  /** Cipher for the next datagram with changes, if it was made already. */
  #ready: CipherGCM | undefined

  /** Sequence numbers continue when the ring of `keys` changes. */
  constructor(identity: Identity, keys: KeySource, form: Form = 1) {
    const keyring = keys.current
    this.#identity = identity
    this.#form = form
    this.#keys = keys
    this.#keyring = keyring
    this.overheadBytes = ciphertextAt(form) + TAG_BYTES
    this.#key = primaryKey(keyring, identity, form)
    this.#nonceKey = nonceKey(keyring, identity)
    this.#header = createHeader(keyring.primaryKeyId, identity, form)
  }

  #useKeyring(keyring: Keyring): void {
    this.#keyring = keyring
    this.#key = primaryKey(keyring, this.#identity, this.#form)
    this.#nonceKey = nonceKey(keyring, this.#identity)
    this.#header = createHeader(keyring.primaryKeyId, this.#identity, this.#form)
    this.#ready = undefined
  }

  /** Makes the cipher for the next datagram with changes; does nothing in form 2. */
  prepare(): void {
    const sequence = this.#lastSequence.changes + 1
    if (sequence <= MAX_SEQUENCE && this.#form === 1)
      this.#ready ??= this.#cipher('changes', sequence)
  }

  /** The last sequence number used on this channel; 0 before the first. */
  lastSequence(channel: Channel): number {
    return this.#lastSequence[channel]
  }

  /** Seals a message under the channel's next sequence number. Throws ERR_INTERNAL when all numbers are used up. */
  seal(channel: Channel, message: Buffer): Buffer {
    const sequence = this.#lastSequence[channel] + 1
    if (sequence > MAX_SEQUENCE) {
      throw new TlscachedError('ERR_INTERNAL', 'sequence numbers of this boot are used up')
    }
    this.#lastSequence[channel] = sequence
    if (this.#keys.current !== this.#keyring) this.#useKeyring(this.#keys.current)
    const datagram = Buffer.allocUnsafe(message.length + this.overheadBytes)
    writePosition(this.#header, channel, sequence)
    datagram.set(this.#header)
    const cipher =
      this.#form === 1 ? this.#take(channel, sequence) : this.#cipherFor(message, datagram)
    cipher.setAAD(this.#header)
    datagram.set(cipher.update(message), ciphertextAt(this.#form))
    cipher.final()
    datagram.set(cipher.getAuthTag(), datagram.length - TAG_BYTES)
    return datagram
  }

  /**
   * Makes the cipher of form 2 and writes its nonce after the header. The hash is SHA-256 with the key in front; since
   * it is cut to 12 bytes, nobody can continue it for a longer message.
   */
  #cipherFor(message: Buffer, datagram: Buffer): CipherGCM {
    const length = this.#nonceKey.length + HEADER_BYTES + message.length
    if (this.#hashed.length < length) this.#hashed = Buffer.alloc(2 * length)
    this.#hashed.set(this.#nonceKey)
    this.#hashed.set(this.#header, this.#nonceKey.length)
    this.#hashed.set(message, this.#nonceKey.length + HEADER_BYTES)
    hash('sha256', this.#hashed.subarray(0, length), 'buffer').copy(this.#nonce, 0, 0, NONCE_BYTES)
    datagram.set(this.#nonce, HEADER_BYTES)
    return createCipheriv(ALGORITHM, this.#key, this.#nonce, TAG_OPTIONS)
  }

  #take(channel: Channel, sequence: number): CipherGCM {
    const ready = channel === 'changes' ? this.#ready : undefined
    if (ready === undefined) return this.#cipher(channel, sequence)
    this.#ready = undefined
    return ready
  }

  #cipher(channel: Channel, sequence: number): CipherGCM {
    writeNonce(this.#nonce, channel, sequence)
    return createCipheriv(ALGORITHM, this.#key, this.#nonce, TAG_OPTIONS)
  }
}

/** Opens what one boot of one node sealed in one form under one key of the ring. */
export class Opener {
  readonly #key: KeyObject
  /** Nonce of the datagram, overwritten for each decipher, like that of a Sealer. */
  readonly #nonce = Buffer.alloc(NONCE_BYTES)
  #ready: { readonly sequence: number; readonly decipher: DecipherGCM } | undefined

  constructor(key: KeyObject) {
    this.#key = key
  }

  /** Makes the decipher for the datagram with changes of this sequence number in form 1. */
  prepare(sequence: number): void {
    if (this.#ready?.sequence === sequence || sequence > MAX_SEQUENCE) return
    this.#ready = { sequence, decipher: this.#decipher('changes', sequence) }
  }

  /** The message in a datagram with this header; undefined when the datagram was not sealed under this key. */
  open(datagram: Buffer, header: Header): Buffer | undefined {
    const tagStart = datagram.length - TAG_BYTES
    const start = ciphertextAt(header.form)
    const decipher = header.form === 1 ? this.#take(header) : this.#decipherOf(datagram)
    decipher.setAAD(datagram.subarray(0, HEADER_BYTES))
    decipher.setAuthTag(datagram.subarray(tagStart))
    const message = decipher.update(datagram.subarray(start, tagStart))
    try {
      decipher.final()
    } catch {
      return undefined
    }
    return message
  }

  /** The decipher for this header, prepared or new. A decipher is used once, also when opening fails. */
  #take({ channel, sequence }: Header): DecipherGCM {
    const ready = this.#ready
    if (channel !== 'changes' || ready?.sequence !== sequence)
      return this.#decipher(channel, sequence)
    this.#ready = undefined
    return ready.decipher
  }

  #decipherOf(datagram: Buffer): DecipherGCM {
    datagram.copy(this.#nonce, 0, HEADER_BYTES, HEADER_BYTES + NONCE_BYTES)
    return createDecipheriv(ALGORITHM, this.#key, this.#nonce, TAG_OPTIONS)
  }

  #decipher(channel: Channel, sequence: number): DecipherGCM {
    writeNonce(this.#nonce, channel, sequence)
    return createDecipheriv(ALGORITHM, this.#key, this.#nonce, TAG_OPTIONS)
  }
}

function nonceKey(keyring: Keyring, { senderId, bootId }: Identity): Buffer {
  const key = keyring.nonceKey(keyring.primaryKeyId, senderId, bootId)
  if (key === undefined) throw new TlscachedError('ERR_KEYRING')
  return key
}

function primaryKey(keyring: Keyring, identity: Identity, form: Form): KeyObject {
  const key = keyring.senderKey(keyring.primaryKeyId, identity.senderId, identity.bootId, form)
  if (key === undefined) throw new TlscachedError('ERR_KEYRING')
  return key
}
