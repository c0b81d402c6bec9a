// Who a node is on the wire: a sender ID that its name gives it, and a boot ID new at every start.

import { createHash } from 'node:crypto'
import type { RandomSource } from '../base/random.ts'

export const SENDER_ID_BYTES = 8
export const BOOT_ID_BYTES = 8
/** Of the boot ID, so that the origin of versions is a safe integer. */
const ORIGIN_BYTES = 6
export const MAX_ORIGIN = 2 ** (8 * ORIGIN_BYTES) - 1

/** Longest node name that greetings carry. */
export const MAX_NODE_NAME_BYTES = 128

/** One start of one node. */
export interface Boot {
  /** The same at every start of a node of this name. */
  readonly senderId: Buffer
  readonly bootId: Buffer
}

export interface Identity extends Boot {
  /** For display, cut to MAX_NODE_NAME_BYTES. */
  readonly nodeName: string
  /** Number of this boot in versions: breaks ties between nodes. */
  readonly origin: number
}

export function createIdentity(nodeName: string, random: RandomSource): Identity {
  const bootId = Buffer.from(random(BOOT_ID_BYTES))
  return {
    nodeName: cutNodeName(nodeName),
    senderId: createHash('sha256')
      .update(`tlscached node ${nodeName}`)
      .digest()
      .subarray(0, SENDER_ID_BYTES),
    bootId,
    origin: originOf(bootId),
  }
}

/** To look a boot up by: sender ID and boot ID, one character a byte. */
export function bootKeyOf({ senderId, bootId }: Boot): string {
  return senderId.toString('latin1') + bootId.toString('latin1')
}

/** The origin of the changes that a boot makes itself: its first 6 bytes, big endian. */
export function originOf(bootId: Buffer): number {
  return bootId.readUIntBE(0, ORIGIN_BYTES)
}

/** Cuts between characters, never within one. */
function cutNodeName(nodeName: string): string {
  let cut = nodeName
  while (Buffer.byteLength(cut) > MAX_NODE_NAME_BYTES) cut = [...cut].slice(0, -1).join('')
  return cut
}
