// The messages in datagrams between nodes: encodes all kinds but changes, decodes and checks every kind. All values
// that `decodeMessage` returns are within their bounds.

import { isIP } from 'node:net'
import { formatAddress, type HostAddress, isMulticast, parseHostAddress } from '../base/address.ts'
import {
  MAX_BLOCKSIZE,
  MAX_CONTEXT_BYTES,
  MAX_KEYSIZE,
  MAX_SERVER_NAME_BYTES,
  MAX_TIMEOUT_MS,
} from '../store/limits.ts'
import { type Change, MAX_PUT_CLOCK, MAX_VERSION_CLOCK } from '../store/versions.ts'
import { type ChangesMessage, readChanges } from './changes.ts'
import { MAX_SEQUENCE } from './datagram.ts'
import { checkGreetedCaches, type GreetedCaches } from './greeted-caches.ts'
import { BOOT_ID_BYTES, MAX_NODE_NAME_BYTES, MAX_ORIGIN } from './identity.ts'
import type { SequenceRange } from './replay-window.ts'
import { RINGS_HASH_BYTES } from './ring-message.ts'
import {
  bytesOf,
  type Fields,
  hasMistypedField,
  isCacheName,
  isFields,
  isInteger,
  loadMessageType,
  safeIntegerOf,
} from './schema.ts'

const messageType = loadMessageType('replication.proto', 'tlscached.replication.Message')

/** The protocol's version that this node announces in greetings; PROTOCOL.md, section 11, says what each one added. */
export const PROTOCOL_VERSION = 3
export const CHALLENGE_BYTES = 16
/** Bytes of every greeting in form 1, so that an answer is as long as what it answers. */
export const GREETING_BYTES = 400
/** Most fragments of a message or pieces of a datagram: enough for the largest entry in the smallest datagrams. */
export const MAX_FRAGMENTS = 256
/** Most bytes that `encodeFragment` adds to a chunk: two tags with lengths, index and count. */
export const FRAGMENT_OVERHEAD_BYTES = 14
/** Most bytes that `encodePiece` adds to a chunk: two tags with lengths, sequence, index and count. */
export const PIECE_OVERHEAD_BYTES = 23
/** Largest message with one change: room for the largest session with its ID, names and numbers. */
export const MAX_LONE_CHANGE_BYTES = MAX_BLOCKSIZE + 1024
/** Most ranges in one NACK, which then fits into the smallest datagrams. */
export const MAX_NACK_RANGES = 32
/** Most sequence numbers that one NACK asks for, in all its ranges. */
export const MAX_NACK_SEQUENCES = 512

/** Most addresses in one roster. */
export const MAX_ROSTER_ADDRESSES = 64
/** Longest text of an address: a full IPv6 address with brackets and port. */
const MAX_ADDRESS_CHARACTERS = 47

const MAX_WALL_MS = Number.MAX_SAFE_INTEGER
const MAX_PORT = 65_535
/** The largest version of the protocol that a greeting can announce. */
const MAX_VERSION = 2 ** 32 - 1
/** Roles by their numbers in replication.proto; 0 means none and is not sent. */
const ROLES = [undefined, 'subscriber', 'repeater'] as const
/** Role of a sender: `subscriber` for a node that receives through a repeater, `repeater` for a repeater. */
export type Role = Exclude<(typeof ROLES)[number], undefined>

export interface FragmentMessage {
  readonly kind: 'fragment'
  readonly index: number
  readonly count: number
  readonly chunk: Buffer
}

export interface PieceMessage {
  readonly kind: 'piece'
  /** Sequence number of the datagram with changes that this is a piece of. */
  readonly sequence: number
  readonly index: number
  readonly count: number
  readonly chunk: Buffer
}

export interface GreetingMessage extends Partial<GreetedCaches> {
  readonly kind: 'greeting'
  readonly challenge: Buffer | undefined
  readonly answer: Buffer | undefined
  /** The last sequence number the sender used on the channel of changes. */
  readonly changesSequence: number
  readonly sentWallMs: number
  readonly nodeName: string
  /** TCP port on which the sender accepts connections for synchronization; absent when it accepts none. */
  readonly syncPort?: number
  /** The sender's role; absent for a node without one. */
  readonly role?: Role
  /** The highest version of the protocol that the sender knows; absent in greetings of version 1. */
  readonly version?: number
  /** The hash of the sender's rings of ticket keys, RINGS_HASH_BYTES; absent where the sender has none. */
  readonly ringsHash?: Buffer
}

export interface HeartbeatMessage {
  readonly kind: 'heartbeat'
  /** The last sequence number the sender used on the channel of changes. */
  readonly changesSequence: number
}

export interface NackMessage {
  readonly kind: 'nack'
  /** Boot ID of the sender whose datagrams are asked for. */
  readonly bootId: Buffer
  readonly ranges: readonly SequenceRange[]
}

export interface GoneMessage {
  readonly kind: 'gone'
  /** The sender can no longer resend any datagram with changes up to this sequence number. */
  readonly changesSequence: number
}

export interface RosterMessage {
  readonly kind: 'roster'
  /** Addresses of the other subscribers of a repeater, never names. */
  readonly subscribers: readonly HostAddress[]
}

export interface LeaveMessage {
  readonly kind: 'leave'
  /** Boot ID of the receiver, which the sender leaves: a node leaves its repeater, or a repeater drops a node. */
  readonly bootId: Buffer
}

export type Message =
  | ChangesMessage
  | FragmentMessage
  | GreetingMessage
  | HeartbeatMessage
  | NackMessage
  | GoneMessage
  | RosterMessage
  | LeaveMessage
  | PieceMessage

export function encodeFragment(fragment: Omit<FragmentMessage, 'kind'>): Buffer {
  const { index, count, chunk } = fragment
  return messageType.encode({ fragment: { index, count, chunk } })
}

export function encodePiece(piece: Omit<PieceMessage, 'kind'>): Buffer {
  const { sequence, index, count, chunk } = piece
  return messageType.encode({ piece: { sequence, index, count, chunk } })
}

export function encodeGreeting(
  greeting: Omit<GreetingMessage, 'kind'>,
  bytes = GREETING_BYTES,
): Buffer {
  const { role } = greeting
  const fields = { ...greeting, role: role && ROLES.indexOf(role) }
  // The padding is 128 bytes or more, so that its length always takes two bytes and the size comes out exactly.
  const shortest = messageType.encode({ greeting: { ...fields, padding: Buffer.alloc(128) } })
  const padding = Buffer.alloc(128 + bytes - shortest.length)
  return messageType.encode({ greeting: { ...fields, padding } })
}

export function encodeHeartbeat(changesSequence: number): Buffer {
  return messageType.encode({ heartbeat: { changesSequence } })
}

export function encodeNack(nack: Omit<NackMessage, 'kind'>): Buffer {
  const ranges = nack.ranges.map(({ from, to }) => ({ from, count: to - from + 1 }))
  return messageType.encode({ nack: { bootId: nack.bootId, ranges } })
}

export function encodeGone(changesSequence: number): Buffer {
  return messageType.encode({ gone: { changesSequence } })
}

/** A roster with at most MAX_ROSTER_ADDRESSES subscribers. */
export function encodeRoster(subscribers: readonly HostAddress[]): Buffer {
  return messageType.encode({ roster: { subscribers: subscribers.map(formatAddress) } })
}

export function encodeLeave(bootId: Buffer): Buffer {
  return messageType.encode({ leave: { bootId } })
}

/**
 * The message in these bytes, whose byte arrays alias them; undefined when it is malformed or of a kind that this
 * version does not know. `senderOrigin` is the origin of changes that have none.
 */
export function decodeMessage(bytes: Buffer, senderOrigin: number): Message | undefined {
  const changes = readChanges(bytes, senderOrigin)
  if (changes !== undefined) return changes
  const message = messageType.decode(bytes)
  if (message === undefined || hasMistypedField(message)) return undefined
  if (isFields(message['changes'])) return checkChanges(message['changes'], senderOrigin)
  if (isFields(message['fragment'])) return checkFragment(message['fragment'])
  if (isFields(message['greeting'])) return checkGreeting(message['greeting'])
  if (isFields(message['heartbeat'])) return checkTail('heartbeat', message['heartbeat'])
  if (isFields(message['nack'])) return checkNack(message['nack'])
  if (isFields(message['gone'])) return checkTail('gone', message['gone'])
  if (isFields(message['roster'])) return checkRoster(message['roster'])
  if (isFields(message['leave'])) return checkLeave(message['leave'])
  if (isFields(message['piece'])) return checkPiece(message['piece'])
  return undefined
}

function checkChanges(fields: Fields, senderOrigin: number): ChangesMessage | undefined {
  const sentWallMs = safeIntegerOf(fields['sentWallMs'])
  const caches = listOf(fields['caches'])
  const puts = listOf(fields['puts'])
  const removes = listOf(fields['removes'])
  if (!isInteger(sentWallMs, 1, MAX_WALL_MS) || hasMistypedField(fields)) return undefined
  if (puts.length + removes.length === 0 || !caches.every(isCacheName)) return undefined
  const changes: Change[] = []
  for (const put of puts) {
    const change = checkPut(put, caches, senderOrigin)
    if (change === undefined) return undefined
    changes.push(change)
  }
  for (const remove of removes) {
    const change = checkEntry(remove, caches, senderOrigin, MAX_VERSION_CLOCK)
    if (change === undefined) return undefined
    changes.push({ kind: 'remove', ...change })
  }
  return { kind: 'changes', sentWallMs, changes }
}

function checkPut(
  fields: unknown,
  caches: readonly string[],
  senderOrigin: number,
): Change | undefined {
  const entry = checkEntry(fields, caches, senderOrigin, MAX_PUT_CLOCK)
  if (entry === undefined || !isFields(fields)) return undefined
  const { serverName, ageMs } = fields
  const context = bytesOf(fields['context'], 0, MAX_CONTEXT_BYTES)
  const session = bytesOf(fields['session'], 1, MAX_BLOCKSIZE)
  if (context === undefined || session === undefined) return undefined
  if (typeof serverName !== 'string' || Buffer.byteLength(serverName) > MAX_SERVER_NAME_BYTES) {
    return undefined
  }
  if (!isInteger(ageMs, 0, MAX_TIMEOUT_MS)) return undefined
  const put = { kind: 'put' as const, ...entry, context, serverName, session }
  return ageMs === 0 ? put : { ...put, ageMs }
}

/** Checks the fields that puts and removals share. */
function checkEntry(
  fields: unknown,
  caches: readonly string[],
  senderOrigin: number,
  maxClock: number,
) {
  if (!isFields(fields) || hasMistypedField(fields)) return undefined
  const cache = caches[Number(fields['cache'])]
  const { ttlMs } = fields
  const id = bytesOf(fields['id'], 1, MAX_KEYSIZE)
  const clock = safeIntegerOf(fields['clock'])
  const origin = Object.hasOwn(fields, 'origin') ? safeIntegerOf(fields['origin']) : senderOrigin
  if (cache === undefined || id === undefined) return undefined
  if (!isInteger(ttlMs, 1, MAX_TIMEOUT_MS) || !isInteger(clock, 1, maxClock)) {
    return undefined
  }
  if (!isInteger(origin, 0, MAX_ORIGIN)) return undefined
  return { cache, id, ttlMs, version: { clock, origin } }
}

function checkFragment(fields: Fields): FragmentMessage | undefined {
  const { index, count } = fields
  const chunk = bytesOf(fields['chunk'], 1, MAX_LONE_CHANGE_BYTES)
  if (hasMistypedField(fields) || !isInteger(count, 2, MAX_FRAGMENTS)) return undefined
  if (chunk === undefined || !isInteger(index, 0, count - 1)) return undefined
  return { kind: 'fragment', index, count, chunk }
}

function checkPiece(fields: Fields): PieceMessage | undefined {
  const sequence = safeIntegerOf(fields['sequence'])
  const fragment = checkFragment(fields)
  if (fragment === undefined || !isInteger(sequence, 1, MAX_SEQUENCE)) return undefined
  return { ...fragment, kind: 'piece', sequence }
}

function checkGreeting(fields: Fields): GreetingMessage | undefined {
  const { nodeName, syncPort, role, version } = fields
  const challenge = bytesOf(fields['challenge'], 0, CHALLENGE_BYTES)
  const answer = bytesOf(fields['answer'], 0, CHALLENGE_BYTES)
  const ringsHash = bytesOf(fields['ringsHash'], 0, RINGS_HASH_BYTES)
  const changesSequence = safeIntegerOf(fields['changesSequence'])
  const sentWallMs = safeIntegerOf(fields['sentWallMs'])
  if (!isInteger(sentWallMs, 1, MAX_WALL_MS) || hasMistypedField(fields)) return undefined
  if (!isInteger(changesSequence, 0, MAX_SEQUENCE)) return undefined
  if (!isInteger(syncPort, 0, MAX_PORT)) return undefined
  if (!isInteger(role, 0, ROLES.length - 1)) return undefined
  const checkedRole = ROLES[role]
  const told = checkGreetedCaches(fields)
  if (told === undefined || !isInteger(version, 0, MAX_VERSION)) return undefined
  if (!isEmptyOr(challenge, CHALLENGE_BYTES) || !isEmptyOr(answer, CHALLENGE_BYTES))
    return undefined
  if (!isEmptyOr(ringsHash, RINGS_HASH_BYTES)) return undefined
  if (typeof nodeName !== 'string') return undefined
  if (!isInteger(Buffer.byteLength(nodeName), 1, MAX_NODE_NAME_BYTES)) return undefined
  return {
    kind: 'greeting',
    challenge: challenge.length === 0 ? undefined : challenge,
    answer: answer.length === 0 ? undefined : answer,
    changesSequence,
    sentWallMs,
    nodeName,
    ...(syncPort === 0 ? {} : { syncPort }),
    ...(checkedRole === undefined ? {} : { role: checkedRole }),
    ...(version === 0 ? {} : { version }),
    ...(told.cacheCount === 0 ? {} : told),
    ...(ringsHash.length === 0 ? {} : { ringsHash }),
  }
}

function checkTail(
  kind: 'heartbeat' | 'gone',
  fields: Fields,
): HeartbeatMessage | GoneMessage | undefined {
  const changesSequence = safeIntegerOf(fields['changesSequence'])
  if (!isInteger(changesSequence, 1, MAX_SEQUENCE) || hasMistypedField(fields)) return undefined
  return { kind, changesSequence }
}

function checkNack(fields: Fields): NackMessage | undefined {
  const bootId = bytesOf(fields['bootId'], BOOT_ID_BYTES, BOOT_ID_BYTES)
  const listed = listOf(fields['ranges'])
  if (bootId === undefined || hasMistypedField(fields)) return undefined
  if (!isInteger(listed.length, 1, MAX_NACK_RANGES)) return undefined
  const ranges: SequenceRange[] = []
  let sequencesLeft = MAX_NACK_SEQUENCES
  for (const range of listed) {
    if (!isFields(range) || hasMistypedField(range)) return undefined
    const from = safeIntegerOf(range['from'])
    const { count } = range
    if (!isInteger(from, 1, MAX_SEQUENCE) || !isInteger(count, 1, sequencesLeft)) return undefined
    if (from + count - 1 > MAX_SEQUENCE) return undefined
    sequencesLeft -= count
    ranges.push({ from, to: from + count - 1 })
  }
  return { kind: 'nack', bootId, ranges }
}

function checkRoster(fields: Fields): RosterMessage | undefined {
  const listed = listOf(fields['subscribers'])
  if (hasMistypedField(fields) || listed.length > MAX_ROSTER_ADDRESSES) return undefined
  const subscribers: HostAddress[] = []
  for (const text of listed) {
    const address = typeof text === 'string' ? literalAddressOf(text) : undefined
    if (address === undefined) return undefined
    subscribers.push(address)
  }
  return { kind: 'roster', subscribers }
}

function checkLeave(fields: Fields): LeaveMessage | undefined {
  const bootId = bytesOf(fields['bootId'], BOOT_ID_BYTES, BOOT_ID_BYTES)
  return bootId === undefined || hasMistypedField(fields) ? undefined : { kind: 'leave', bootId }
}

/** The address of one node; undefined for a name, which would need a lookup, a group, a wildcard or port 0. */
function literalAddressOf(text: string): HostAddress | undefined {
  if (text.length > MAX_ADDRESS_CHARACTERS) return undefined
  try {
    const address = parseHostAddress(text)
    const { host, port } = address
    const isWild = host === '::' || host === '0.0.0.0' || isMulticast(host)
    return isIP(host) !== 0 && !isWild && port > 0 ? address : undefined
  } catch {
    return undefined
  }
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

function isEmptyOr(bytes: Buffer | undefined, length: number): bytes is Buffer {
  return bytes?.length === 0 || bytes?.length === length
}
