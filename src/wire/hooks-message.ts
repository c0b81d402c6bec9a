// Encodes, decodes and checks the frames between a TLS terminator and its node. Every decoded value is within the
// bounds of limits.ts.

import { isLogLevel, type LogLevel } from '../base/world.ts'
import {
  MAX_BLOCKSIZE,
  MAX_CONTEXT_BYTES,
  MAX_KEYSIZE,
  MAX_SERVER_NAME_BYTES,
  MAX_TIMEOUT_MS,
} from '../store/limits.ts'
import type { PutResult } from '../store/stats.ts'
import { toFrame } from './framing.ts'
import {
  checkKey,
  GROUP_NAME_PATTERN,
  keyMessageBytes,
  MAX_RING_KEYS,
  type OfferedKey,
} from './ring-message.ts'
import {
  bytesOf,
  checkList,
  type Fields,
  hasMistypedField,
  isCacheName,
  isFields,
  isInteger,
  loadMessageType,
  MAX_UINT32,
} from './schema.ts'

const requestType = loadMessageType('hooks.proto', 'tlscached.hooks.Request')
const responseType = loadMessageType('hooks.proto', 'tlscached.hooks.Response')

/** Largest frame: room for the largest session with its ID, names and numbers. */
export const MAX_HOOKS_FRAME_BYTES = MAX_BLOCKSIZE + 1024

interface CallFields {
  readonly cache: string
  readonly context: Uint8Array
  readonly id: Uint8Array
}

export interface GetCall extends CallFields {
  readonly kind: 'get'
  /** Server name (SNI), empty when the client sent none; undefined when that is not known. */
  readonly serverName: string | undefined
}

export interface PutCall extends CallFields {
  readonly kind: 'put'
  readonly session: Uint8Array
  /** Lifetime asked for, in whole ms; undefined: as long as the cache and the session allow. */
  readonly ttlMs: number | undefined
  readonly serverName: string | undefined
}

export interface RemoveCall extends CallFields {
  readonly kind: 'remove'
}

export type SessionCall = GetCall | PutCall | RemoveCall
/** Sets the level of the log; undefined leaves it as it is. */
export interface LogLevelCall {
  readonly kind: 'logLevel'
  readonly level: LogLevel | undefined
}
/** Makes a ticket key of a group. */
export interface RotateCall {
  readonly kind: 'rotateTickets'
  readonly group: string
  readonly isImmediate: boolean
  readonly isRevoking: boolean
}
/** Asks for the ticket keys of a group, now and after each change. */
export interface WatchCall {
  readonly kind: 'watchTickets'
  readonly group: string
}
export type HooksCall =
  | SessionCall
  | LogLevelCall
  | RotateCall
  | WatchCall
  | { readonly kind: 'ping' }

export interface HooksRequest {
  /** The terminator's number of this request, 1 or more, which the response repeats. */
  readonly number: number
  /** The call, whose byte arrays alias the frame; `unknown` for a call of a later version. */
  readonly call: HooksCall | { readonly kind: 'unknown' }
}

/** Errors of the node, in the order of their numbers in hooks.proto, which begin with 1. */
export const HOOKS_ERRORS = [
  'no_such_cache',
  'unknown_call',
  'internal',
  'forbidden',
  'no_such_group',
] as const
export type HooksError = (typeof HOOKS_ERRORS)[number]

/** The ticket keys of a group by their use, MAX_RING_KEYS at most. */
export interface TicketKeysResult {
  readonly kind: 'ticketKeys'
  /** Undefined while the node has no key yet. */
  readonly current: OfferedKey | undefined
  /** Keys that are opened already and minted later, the first one of them first. */
  readonly next: readonly OfferedKey[]
  /** Keys that are opened and no longer minted, the youngest first. */
  readonly previous: readonly OfferedKey[]
}

export type HooksResult =
  | TicketKeysResult
  | {
      readonly kind: 'found'
      readonly session: Buffer
      readonly ttlMs: number
      /** Set when a TLS 1.3 session that a handshake makes out of this one may live longer than it. */
      readonly isRenewable?: true
    }
  | { readonly kind: 'miss' | 'pong' | 'rotated' }
  | { readonly kind: 'stored'; readonly result: PutResult }
  | { readonly kind: 'removed'; readonly wasThere: boolean }
  | { readonly kind: 'logLevel'; readonly level: LogLevel }
  | { readonly kind: 'error'; readonly code: HooksError }

export interface HooksResponse {
  /** The number of the request. */
  readonly number: number
  /** The result, whose byte arrays alias the frame; `unknown` for a result of a later version. */
  readonly result: HooksResult | { readonly kind: 'unknown' }
}

/** Numbers of the results of a put in hooks.proto. */
const PUT_RESULT_NUMBERS: Record<PutResult, number> = {
  stored: 1,
  replaced: 2,
  keysize: 3,
  blocksize: 4,
  context: 5,
  full: 6,
  expired: 7,
  early_data: 8,
  version: 9,
  key_mismatch: 10,
}

/**
 * A frame with this request, its length in front. The caller has checked the call's bounds, see `isIdLength`,
 * `isSessionLength` and `isServerName`.
 */
export function encodeHooksRequest(number: number, call: HooksCall): Buffer {
  const { kind, ...fields } = call
  return toFrame(requestType.encode({ number, [kind]: fields }))
}

/** A frame with this response, its length in front. The caller erases one with ticket keys after use. */
export function encodeHooksResponse(number: number, result: HooksResult): Buffer {
  const fields = { number, ...fieldsOfResult(result) }
  if (result.kind !== 'ticketKeys') return toFrame(responseType.encode(fields))
  const { next, previous } = result
  const message = responseType.encodeSecret(
    fields,
    keyMessageBytes(1 + next.length + previous.length),
  )
  const frame = toFrame(message)
  message.fill(0)
  return frame
}

function fieldsOfResult(result: HooksResult): Fields {
  switch (result.kind) {
    case 'found': {
      // A lifetime of less than 1 ms is sent as 1 ms, since 0 would be malformed.
      const ttlMs = Math.max(1, Math.floor(result.ttlMs))
      const renewable = result.isRenewable === true && { renewable: true }
      return { found: { session: result.session, ttlMs, ...renewable } }
    }
    case 'miss':
      return { miss: {} }
    case 'pong':
      return { pong: {} }
    case 'rotated':
      return { rotated: {} }
    case 'stored':
      return { stored: { result: PUT_RESULT_NUMBERS[result.result] } }
    case 'removed':
      return { removed: { wasThere: result.wasThere } }
    case 'logLevel':
      return { logLevel: { level: result.level } }
    case 'ticketKeys': {
      const { current, next, previous } = result
      return { ticketKeys: { current, next, previous } }
    }
    case 'error':
      return { error: { code: HOOKS_ERRORS.indexOf(result.code) + 1 } }
  }
}

/** The request in a frame, given without its length; undefined when it is malformed. */
export function decodeHooksRequest(frame: Buffer): HooksRequest | undefined {
  const decoded = decode(requestType.decode(frame), CALLS)
  return decoded && { number: decoded.number, call: decoded.body }
}

/** The response in a frame, given without its length; undefined when it is malformed. */
export function decodeHooksResponse(frame: Buffer): HooksResponse | undefined {
  const decoded = decode(responseType.decode(frame), RESULTS)
  return decoded && { number: decoded.number, result: decoded.body }
}

type Check<Body> = (fields: Fields) => Body | undefined

function decode<Body>(
  fields: Fields | undefined,
  checks: ReadonlyMap<string, Check<Body>>,
): { readonly number: number; readonly body: Body | { readonly kind: 'unknown' } } | undefined {
  if (fields === undefined || hasMistypedField(fields)) return undefined
  const { number } = fields
  if (!isInteger(number, 1, MAX_UINT32)) return undefined
  // Where a frame has several calls or results, protobufjs kept the last one only, as protobuf demands.
  for (const [name, check] of checks) {
    const value = fields[name]
    if (!isFields(value)) continue
    const body = hasMistypedField(value) ? undefined : check(value)
    return body && { number, body }
  }
  return { number, body: { kind: 'unknown' } }
}

const CALLS: ReadonlyMap<string, Check<HooksCall>> = new Map<string, Check<HooksCall>>([
  ['get', checkGet],
  ['put', checkPut],
  ['remove', checkRemove],
  ['ping', () => ({ kind: 'ping' })],
  ['logLevel', checkLogLevelCall],
  ['rotateTickets', checkRotate],
  ['watchTickets', checkWatch],
])

const RESULTS: ReadonlyMap<string, Check<HooksResponse['result']>> = new Map<
  string,
  Check<HooksResponse['result']>
>([
  ['found', checkFound],
  ['miss', () => ({ kind: 'miss' })],
  ['stored', checkStored],
  ['removed', ({ wasThere }) => ({ kind: 'removed', wasThere: wasThere === true })],
  ['pong', () => ({ kind: 'pong' })],
  ['error', checkError],
  ['logLevel', checkLogLevel],
  ['rotated', () => ({ kind: 'rotated' })],
  ['ticketKeys', checkTicketKeys],
])

function checkGet(fields: Fields): GetCall | undefined {
  const call = checkCallFields(fields)
  const serverName = fields['serverName'] ?? undefined
  return call && isServerName(serverName) ? { kind: 'get', ...call, serverName } : undefined
}

function checkPut(fields: Fields): PutCall | undefined {
  const call = checkCallFields(fields)
  const { session } = fields
  const serverName = fields['serverName'] ?? undefined
  const ttlMs = fields['ttlMs'] ?? undefined
  if (call === undefined || !isServerName(serverName)) return undefined
  if (!Buffer.isBuffer(session) || !isSessionLength(session.length)) return undefined
  if (ttlMs !== undefined && !isInteger(ttlMs, 0, MAX_TIMEOUT_MS)) return undefined
  return { kind: 'put', ...call, session, ttlMs, serverName }
}

function checkRemove(fields: Fields): RemoveCall | undefined {
  const call = checkCallFields(fields)
  return call && { kind: 'remove', ...call }
}

function checkLogLevelCall({ level }: Fields): LogLevelCall | undefined {
  if (level === undefined || level === '') return { kind: 'logLevel', level: undefined }
  return typeof level === 'string' && isLogLevel(level) ? { kind: 'logLevel', level } : undefined
}

function checkRotate({ group, isImmediate, isRevoking }: Fields): RotateCall | undefined {
  if (typeof group !== 'string' || !GROUP_NAME_PATTERN.test(group)) return undefined
  const [immediate, revoking] = [isImmediate === true, isRevoking === true]
  return { kind: 'rotateTickets', group, isImmediate: immediate, isRevoking: revoking }
}

function checkWatch({ group }: Fields): WatchCall | undefined {
  if (typeof group !== 'string' || !GROUP_NAME_PATTERN.test(group)) return undefined
  return { kind: 'watchTickets', group }
}

function checkTicketKeys({ current: first, next: later, previous: past }: Fields) {
  const current = checkList(isFields(first) ? [first] : [], checkKey)
  const next = checkList(later, checkKey)
  const previous = checkList(past, checkKey)
  if (current === undefined || next === undefined || previous === undefined) return undefined
  const others = next.length + previous.length
  // A ring has a current key unless it is empty.
  if (current.length + others > MAX_RING_KEYS || (current.length === 0 && others > 0)) {
    return undefined
  }
  const keys: TicketKeysResult = { kind: 'ticketKeys', current: current[0], next, previous }
  return keys
}

function checkLogLevel({ level }: Fields): HooksResponse['result'] {
  const isKnown = typeof level === 'string' && isLogLevel(level)
  return isKnown ? { kind: 'logLevel', level } : { kind: 'unknown' }
}

function checkCallFields({ cache, context, id }: Fields): CallFields | undefined {
  const contextBytes = bytesOf(context, 0, MAX_CONTEXT_BYTES)
  if (!isCacheName(cache) || contextBytes === undefined) return undefined
  return Buffer.isBuffer(id) && isIdLength(id.length)
    ? { cache, context: contextBytes, id }
    : undefined
}

function checkFound({ session, ttlMs, renewable }: Fields): HooksResult | undefined {
  if (!Buffer.isBuffer(session) || !isSessionLength(session.length)) return undefined
  if (!isInteger(ttlMs, 1, MAX_TIMEOUT_MS)) return undefined
  return { kind: 'found', session, ttlMs, ...(renewable === true && { isRenewable: true }) }
}

function checkStored(fields: Fields): HooksResponse['result'] {
  for (const [result, number] of Object.entries(PUT_RESULT_NUMBERS)) {
    if (number === fields['result']) return { kind: 'stored', result: result as PutResult }
  }
  return { kind: 'unknown' }
}

function checkError({ code }: Fields): HooksResponse['result'] {
  const known = typeof code === 'number' ? HOOKS_ERRORS[code - 1] : undefined
  return known === undefined ? { kind: 'unknown' } : { kind: 'error', code: known }
}

export function isIdLength(length: number): boolean {
  return isInteger(length, 1, MAX_KEYSIZE)
}

export function isSessionLength(length: number): boolean {
  return isInteger(length, 1, MAX_BLOCKSIZE)
}

/** Whether the value is a server name that is short enough, or undefined for one that is not known. */
export function isServerName(value: unknown): value is string | undefined {
  if (value === undefined) return true
  return typeof value === 'string' && Buffer.byteLength(value) <= MAX_SERVER_NAME_BYTES
}
