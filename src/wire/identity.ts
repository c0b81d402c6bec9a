// The identity of a node on the wire: a sender ID made from its name, and a boot ID that is new at every start.

import { createHash } from 'node:crypto'
import type { RandomSource } from '../base/world.ts'

export const SENDER_ID_BYTES = 8
export const BOOT_ID_BYTES = 8
/** Bytes of the boot ID that become the origin of versions: so few that it is a safe integer. */
const ORIGIN_BYTES = 6
export const MAX_ORIGIN = 2 ** (8 * ORIGIN_BYTES) - 1

/** Longest node name in greetings, in bytes of UTF-8. */
export const MAX_NODE_NAME_BYTES = 128

/** Identifies one run of one node. */
export interface Boot {
  /** Made from the node's name, so it is the same at every start. */
  readonly senderId: Buffer
  /** Random at every start. */
  readonly bootId: Buffer
}

export interface Identity extends Boot {
  /** The node's name for display, cut to MAX_NODE_NAME_BYTES. */
  readonly nodeName: string
  /** Number of this boot in versions, where it breaks ties between nodes. */
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

/** Key of a boot in a Map: sender ID and boot ID, one character per byte. */
export function bootKeyOf({ senderId, bootId }: Boot): string {
  return senderId.toString('latin1') + bootId.toString('latin1')
}

/** The origin of the changes that a boot makes itself: the first 6 bytes of its ID, big endian. */
export function originOf(bootId: Buffer): number {
  return bootId.readUIntBE(0, ORIGIN_BYTES)
}

/** An origin as it is shown: the hex digits with which the boot ID begins. */
export function originTextOf(origin: number): string {
  return origin.toString(16).padStart(2 * ORIGIN_BYTES, '0')
}

/** Cuts a name to MAX_NODE_NAME_BYTES between two characters, never within one. */
function cutNodeName(nodeName: string): string {
  let cut = nodeName
  while (Buffer.byteLength(cut) > MAX_NODE_NAME_BYTES) cut = [...cut].slice(0, -1).join('')
  return cut
}
