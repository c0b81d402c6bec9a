// Checks the rings of ticket keys that two nodes swap, and makes the hash by which greetings show whether they differ.
// They are a part of frames of the sync connection (sync-message.ts). A frame with rings holds secrets: the code that
// encodes or receives one fills its bytes with zeros after use.

import { createHmac } from 'node:crypto'
import { CACHE_NAME_PATTERN } from '../store/limits.ts'
import { checkList, type Fields } from './schema.ts'

/** What the name of a group of terminators looks like. */
export const GROUP_NAME_PATTERN = CACHE_NAME_PATTERN
/** Bytes of the name of a ticket key. */
export const TICKET_NAME_BYTES = 16
/** Bytes of the AES and HMAC keys of a ticket key together. */
export const TICKET_SECRET_BYTES = 96
/** Most keys in a ring and in an offer: 16 nodes that start without hearing of each other, and their next keys. */
export const MAX_RING_KEYS = 32
/** Most names of retired keys that are remembered and sent. A ring remembers about a dozen. */
export const MAX_RETIRED_NAMES = 128
/** Most groups of terminators. */
export const MAX_RINGS = 16
/** Bytes of the hash in greetings. */
export const RINGS_HASH_BYTES = 8
const MAX_AGE_MS = 2 ** 32 - 1

/** A ticket key as nodes send it to each other. */
export interface OfferedKey {
  /** TICKET_NAME_BYTES. */
  readonly name: Buffer
  /** TICKET_SECRET_BYTES. */
  readonly secret: Buffer
  /** Time since the key was made, as the sender reckons. */
  readonly ageMs: number
  /** True when the sender was suspended and has not been told the age since, so that the key may be older. */
  readonly isDoubted?: boolean
}

/** The name of a retired key. */
export interface RetiredName {
  /** TICKET_NAME_BYTES. */
  readonly name: Buffer
  /** Time since the key was retired, as the sender reckons. */
  readonly ageMs: number
}

/** The ring of one group as nodes send it to each other. */
export interface RingOffer {
  readonly group: string
  readonly keys: readonly OfferedKey[]
  readonly retired: readonly RetiredName[]
}

/** Bytes that hold a key or the name of a retired key in a message: more than its fields and their tags. */
const LONGEST_KEY_BYTES = 144
const LONGEST_RETIRED_BYTES = 48
const LONGEST_GROUP_BYTES = 128

/** Most bytes of a message with these keys. */
export function keyMessageBytes(keyCount: number): number {
  return LONGEST_GROUP_BYTES + keyCount * LONGEST_KEY_BYTES
}

/** Most bytes of a message with these rings. */
export function ringMessageBytes(rings: readonly RingOffer[]): number {
  return rings.reduce(
    (sum, { keys, retired }) =>
      sum + keyMessageBytes(keys.length) + retired.length * LONGEST_RETIRED_BYTES,
    LONGEST_GROUP_BYTES,
  )
}

/** Fills the secrets of offers with zeros, and with them the bytes of the frame that they alias. */
export function eraseSecrets(offers: readonly RingOffer[]): void {
  for (const { keys } of offers) for (const { secret } of keys) secret.fill(0)
}

/**
 * The rings in a decoded message; undefined when they are malformed. Names and secrets alias the decoded bytes. An offer
 * may have more keys or names than a ring can hold: the ring refuses and counts that.
 */
export function checkRings(fields: Fields): RingOffer[] | undefined {
  const offers = checkList(fields['rings'], checkRing)
  if (offers === undefined || offers.length > MAX_RINGS) return undefined
  const groups = new Set(offers.map(({ group }) => group))
  return groups.size === offers.length ? offers : undefined
}

/**
 * The hash of the names of all keys: nodes with the same keys have the same one. It is made with a key of the cluster,
 * so that an outsider who sees the names in tickets cannot tell which nodes hold them.
 */
export function hashRings(
  rings: readonly { readonly group: string; readonly names: readonly string[] }[],
  hashKey: Uint8Array,
): Buffer {
  const hmac = createHmac('sha256', hashKey)
  const sorted = [...rings].sort((a, b) => (a.group < b.group ? -1 : 1))
  for (const { group, names } of sorted) {
    hmac.update(`${group}\n`)
    for (const name of [...names].sort()) hmac.update(`${name}\n`)
    hmac.update('\n')
  }
  return hmac.digest().subarray(0, RINGS_HASH_BYTES)
}

function checkRing(fields: Fields): RingOffer | undefined {
  const { group } = fields
  const keys = checkList(fields['keys'], checkKey)
  const retired = checkList(fields['retired'], checkRetired)
  if (typeof group !== 'string' || !GROUP_NAME_PATTERN.test(group)) return undefined
  return keys === undefined || retired === undefined ? undefined : { group, keys, retired }
}

/** The key in a decoded message; undefined when it is malformed. Name and secret alias the decoded bytes. */
export function checkKey(fields: Fields): OfferedKey | undefined {
  const named = checkRetired(fields)
  const { secret } = fields
  if (named === undefined || !isBytes(secret, TICKET_SECRET_BYTES)) return undefined
  return { ...named, secret, ...(fields['isDoubted'] === true && { isDoubted: true }) }
}

function checkRetired({ name, ageMs }: Fields): RetiredName | undefined {
  if (!isBytes(name, TICKET_NAME_BYTES)) return undefined
  if (typeof ageMs !== 'number' || !(ageMs >= 0 && ageMs <= MAX_AGE_MS)) return undefined
  return { name, ageMs }
}

function isBytes(value: unknown, length: number): value is Buffer {
  return Buffer.isBuffer(value) && value.length === length
}
