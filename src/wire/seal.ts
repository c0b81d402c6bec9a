// Sealing and opening datagrams: AES-256-GCM under a key per sender and boot, the sequence as nonce.

import { createCipheriv, createDecipheriv, type KeyObject } from 'node:crypto'
import { TlscachedError } from '../base/errors.ts'
import {
  type Channel,
  HEADER_BYTES,
  type Header,
  MAX_SEQUENCE,
  nonceOf,
  SEAL_OVERHEAD_BYTES,
  TAG_BYTES,
  writeHeader,
} from './datagram.ts'
import type { Identity } from './identity.ts'
import type { Keyring } from './keyring.ts'

const ALGORITHM = 'aes-256-gcm'
const TAG_OPTIONS = { authTagLength: TAG_BYTES }

/** Seals what one boot of one node sends. One per boot: a sequence number is never used twice. */
export class Sealer {
  readonly #identity: Identity
  readonly #lastSequence: Record<Channel, number> = { changes: 0, control: 0 }
  #keyId: number
  #key: KeyObject

  constructor(identity: Identity, keyring: Keyring) {
    this.#identity = identity
    this.#keyId = keyring.primaryKeyId
    this.#key = primaryKey(keyring, identity)
  }

  /** Seals with the primary key of another keyring from now on; sequences go on. */
  setKeyring(keyring: Keyring): void {
    this.#key = primaryKey(keyring, this.#identity)
    this.#keyId = keyring.primaryKeyId
  }

  /** The last sequence number used; 0 before the first. */
  lastSequence(channel: Channel): number {
    return this.#lastSequence[channel]
  }

  /** One message as a datagram, under the next sequence number of the channel. */
  seal(channel: Channel, message: Buffer): Buffer {
    const sequence = this.#lastSequence[channel] + 1
    if (sequence > MAX_SEQUENCE) {
      throw new TlscachedError('ERR_INTERNAL', 'sequence numbers of this boot are used up')
    }
    this.#lastSequence[channel] = sequence
    const datagram = Buffer.allocUnsafe(message.length + SEAL_OVERHEAD_BYTES)
    writeHeader(datagram, {
      channel,
      keyId: this.#keyId,
      senderId: this.#identity.senderId,
      bootId: this.#identity.bootId,
      sequence,
    })
    const cipher = createCipheriv(ALGORITHM, this.#key, nonceOf(channel, sequence), TAG_OPTIONS)
    cipher.setAAD(datagram.subarray(0, HEADER_BYTES))
    cipher.update(message).copy(datagram, HEADER_BYTES)
    cipher.final()
    cipher.getAuthTag().copy(datagram, datagram.length - TAG_BYTES)
    return datagram
  }
}

/** The message in a datagram with this header, or undefined when it was not sealed under this key. */
export function openDatagram(datagram: Buffer, header: Header, key: KeyObject): Buffer | undefined {
  const tagStart = datagram.length - TAG_BYTES
  const nonce = nonceOf(header.channel, header.sequence)
  const decipher = createDecipheriv(ALGORITHM, key, nonce, TAG_OPTIONS)
  decipher.setAAD(datagram.subarray(0, HEADER_BYTES))
  decipher.setAuthTag(datagram.subarray(tagStart))
  const message = decipher.update(datagram.subarray(HEADER_BYTES, tagStart))
  try {
    decipher.final()
  } catch {
    return undefined
  }
  return message
}

function primaryKey(keyring: Keyring, identity: Identity): KeyObject {
  const key = keyring.senderKey(keyring.primaryKeyId, identity.senderId, identity.bootId)
  if (key === undefined) throw new TlscachedError('ERR_KEYRING')
  return key
}
