// The layout of a sealed datagram.
//
//    0  'T' 'C'                magic
//    2  form                   1, or 2 with the nonce in the datagram
//    3  channel                0 changes, 1 control
//    4  key ID                 4 bytes, which key of the ring sealed it
//    8  sender ID              8 bytes, from the node's name
//   16  boot ID                8 bytes, random at every start
//   24  sequence               8 bytes, big endian, 1..2^48-1, per sender, boot and channel
//   32  nonce                  12 bytes, in form 2 only
//   ..  ciphertext             AES-256-GCM of one Message; the first 32 bytes are associated data
//   -16 tag                    16 bytes
//
// The nonce of form 1 is not sent: it is the channel as 4 bytes and the sequence as 8 bytes, both big endian. The nonce
// of form 2 is a keyed hash over header and message (seal.ts), so that only equal datagrams have the same nonce.

import type { Boot } from './identity.ts'

export const HEADER_BYTES = 32
export const TAG_BYTES = 16
export const NONCE_BYTES = 12
/** Bytes that sealing in form 1 adds to a message; form 2 adds NONCE_BYTES more. */
export const SEAL_OVERHEAD_BYTES = HEADER_BYTES + TAG_BYTES
/** The two ways to seal a datagram: 1 with the nonce left out, 2 with the nonce in the datagram. */
export type Form = 1 | 2

/** The largest datagram that UDP carries over IPv4; over IPv6 it is 20 bytes more. */
export const MAX_DATAGRAM_BYTES = 65_507
/** The smallest limit for datagrams that can be set; a greeting fits. Headers of IP and UDP are not counted. */
export const MIN_DATAGRAM_BYTES = 576
export const DEFAULT_DATAGRAM_BYTES = 1400

/** The largest sequence number; the upper 16 bits of its field stay zero. */
export const MAX_SEQUENCE = 2 ** 48 - 1

/** `changes` is one stream of changes to all peers, whose gaps are repaired; `control` has all other messages. */
export const CHANNELS = { changes: 0, control: 1 } as const
export type Channel = keyof typeof CHANNELS

const MAGIC = 0x5443
const OFFSETS = { form: 2, channel: 3, keyId: 4, senderId: 8, bootId: 16, sequence: 24 } as const

/** The header of a datagram, as read: nothing in it is proved before the datagram is opened. */
export class Header implements Boot {
  readonly form: Form
  readonly channel: Channel
  readonly keyId: number
  readonly sequence: number
  /** The boot that sent the datagram, in the form of `bootKeyOf`. */
  readonly bootKey: string
  readonly #datagram: Buffer

  constructor(datagram: Buffer, form: Form, channel: Channel, sequence: number) {
    this.form = form
    this.channel = channel
    this.keyId = datagram.readUInt32BE(OFFSETS.keyId)
    this.sequence = sequence
    this.bootKey = datagram.toString('latin1', OFFSETS.senderId, OFFSETS.sequence)
    this.#datagram = datagram
  }

  /** Sender ID, over the memory of the datagram. */
  get senderId(): Buffer {
    return this.#datagram.subarray(OFFSETS.senderId, OFFSETS.bootId)
  }

  /** Boot ID, over the memory of the datagram. */
  get bootId(): Buffer {
    return this.#datagram.subarray(OFFSETS.bootId, OFFSETS.sequence)
  }
}

/** A header for all datagrams that one boot seals under one key; `writePosition` completes it for each of them. */
export function createHeader(keyId: number, { senderId, bootId }: Boot, form: Form): Buffer {
  const header = Buffer.alloc(HEADER_BYTES)
  header.writeUInt16BE(MAGIC, 0)
  header.writeUInt8(form, OFFSETS.form)
  header.writeUInt32BE(keyId, OFFSETS.keyId)
  senderId.copy(header, OFFSETS.senderId)
  bootId.copy(header, OFFSETS.bootId)
  return header
}

export function writePosition(header: Buffer, channel: Channel, sequence: number): void {
  header.writeUInt8(CHANNELS[channel], OFFSETS.channel)
  header.writeUIntBE(sequence, OFFSETS.sequence + 2, 6)
}

/** Offset of the ciphertext in a datagram of this form. */
export function ciphertextAt(form: Form): number {
  return form === 1 ? HEADER_BYTES : HEADER_BYTES + NONCE_BYTES
}

/** The header of a datagram, or undefined when it is malformed or of an unknown form. Proves nothing. */
export function readHeader(datagram: Buffer): Header | undefined {
  if (datagram.length <= SEAL_OVERHEAD_BYTES || datagram.length > MAX_DATAGRAM_BYTES)
    return undefined
  const form = datagram[OFFSETS.form]
  if (datagram.readUInt16BE(0) !== MAGIC || (form !== 1 && form !== 2)) return undefined
  if (datagram.length <= ciphertextAt(form) + TAG_BYTES) return undefined
  const channel = channelOf(datagram[OFFSETS.channel])
  const sequence = datagram.readUIntBE(OFFSETS.sequence + 2, 6)
  if (channel === undefined || sequence === 0) return undefined
  if (datagram.readUInt16BE(OFFSETS.sequence) !== 0) return undefined
  return new Header(datagram, form, channel, sequence)
}

/** Writes the nonce of form 1 into NONCE_BYTES bytes, of which bytes 4 and 5 are not written and must be zero. */
export function writeNonce(nonce: Buffer, channel: Channel, sequence: number): void {
  nonce.writeUInt32BE(CHANNELS[channel], 0)
  nonce.writeUIntBE(sequence, 6, 6)
}

function channelOf(byte: number | undefined): Channel | undefined {
  if (byte === CHANNELS.changes) return 'changes'
  return byte === CHANNELS.control ? 'control' : undefined
}
