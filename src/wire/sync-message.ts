// Encodes, decodes and checks the frames of the connection over which two nodes compare and copy their entries. Changes
// are encoded by ChangeBatch: its message is a valid frame.

import { DIGEST_BUCKETS, DIGEST_BYTES } from '../store/digest.ts'
import { MAX_FOLLOW_MS } from '../store/followed.ts'
import {
  type CacheLimits,
  MAX_BLOCKSIZE,
  MAX_CONTEXT_BYTES,
  MAX_KEYSIZE,
  MAX_TIMEOUT_MS,
} from '../store/limits.ts'
import type { EntryVersion } from '../store/stored-entries.ts'
import { MAX_PUT_CLOCK, MAX_VERSION_CLOCK, type Version } from '../store/versions.ts'
import type { ChangesMessage } from './changes.ts'
import { MAX_ORIGIN } from './identity.ts'
import { decodeMessage } from './message.ts'
import { checkRings, type RingOffer, ringMessageBytes } from './ring-message.ts'
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
  safeIntegerOf,
} from './schema.ts'

const frameType = loadMessageType('sync.proto', 'tlscached.sync.Frame')

/** Largest frame. The largest that this version sends has 1024 versions with the longest IDs, and is smaller. */
export const MAX_FRAME_BYTES = 512 * 1024
/** Largest document of a summary, which is JSON. */
export const MAX_SUMMARY_BYTES = 256 * 1024
const MIN_SUMMARY_BYTES = 2
/** Most session IDs or versions in one frame. */
export const MAX_IDS_PER_FRAME = 1024
/** An origin that no node has: a ChangeBatch with it as own origin writes the origin of every change. */
export const NO_ORIGIN = -1

/** Tag of Frame.changes and of Message.changes: field 1, length-delimited. */
const CHANGES_TAG = 0x0a
/** A node whose cache allows more contexts than this announces none, and is sent sessions of all contexts. */
const MAX_TOLD_CONTEXTS = 64

/** The limits of a cache that a node announces, so that its peer does not send sessions that would be refused. */
export type ToldLimits = Pick<CacheLimits, 'keysize' | 'blocksize' | 'timeoutMs' | 'contexts'>

export interface Digests {
  readonly kind: 'digest'
  /** The digest in DIGEST_BYTES bytes; empty when there is no such cache. */
  readonly buckets: Buffer
  readonly entries: number
  readonly sessionRoom: number
  readonly removalRoom: number
  /** Limits of the cache; absent when there is no such cache, and from nodes of version 1. */
  readonly limits?: ToldLimits
}

export interface VersionsRequest {
  readonly kind: 'versions_request'
  readonly cache: string
  readonly buckets: readonly number[]
}

export interface EntriesRequest {
  readonly kind: 'entries_request'
  readonly cache: string
  readonly ids: readonly Buffer[]
  /** Limits of the requesting node's cache; absent from nodes of version 1. */
  readonly limits?: ToldLimits
}

/** Asks where a session is, by its ID or the beginning of one, and has it followed for `followMs`. */
export interface TraceRequest {
  readonly kind: 'trace_request'
  readonly id: Buffer
  readonly followMs: number
}

/** A frame of either side: a request or a part of an answer. */
export type SyncFrame =
  | ChangesMessage
  | Digests
  | { readonly kind: 'snapshot_request'; readonly cache: string; readonly limits?: ToldLimits }
  | { readonly kind: 'digest_request'; readonly cache: string }
  | VersionsRequest
  | { readonly kind: 'versions'; readonly versions: readonly EntryVersion[] }
  | EntriesRequest
  | { readonly kind: 'applied_request' }
  | { readonly kind: 'rings'; readonly rings: readonly RingOffer[] }
  | { readonly kind: 'end'; readonly isComplete: boolean }
  | { readonly kind: 'summary_request' }
  | { readonly kind: 'summary'; readonly document: Buffer }
  | TraceRequest
  | { readonly kind: 'trace'; readonly document: Buffer }

export function encodeSyncFrame(frame: Exclude<SyncFrame, ChangesMessage>): Buffer {
  switch (frame.kind) {
    case 'snapshot_request':
      return frameType.encode({ snapshotRequest: { cache: frame.cache, ...fieldsOfLimits(frame) } })
    case 'digest_request':
      return frameType.encode({ digestRequest: { cache: frame.cache } })
    case 'digest': {
      const { buckets, entries, sessionRoom, removalRoom } = frame
      const told = fieldsOfLimits(frame)
      return frameType.encode({ digest: { buckets, entries, sessionRoom, removalRoom, ...told } })
    }
    case 'versions_request':
      return frameType.encode({ versionsRequest: { cache: frame.cache, buckets: frame.buckets } })
    case 'versions':
      return frameType.encode({ versions: { versions: frame.versions.map(fieldsOfVersion) } })
    case 'entries_request':
      return frameType.encode({
        entriesRequest: { cache: frame.cache, ids: frame.ids, ...fieldsOfLimits(frame) },
      })
    case 'applied_request':
      return frameType.encode({ appliedRequest: {} })
    case 'end':
      return frameType.encode({ end: { isComplete: frame.isComplete } })
    case 'rings':
      return frameType.encodeSecret(
        { rings: { rings: frame.rings } },
        ringMessageBytes(frame.rings),
      )
    case 'summary_request':
      return frameType.encode({ summaryRequest: {} })
    case 'summary':
      return frameType.encode({ summary: { document: frame.document } })
    case 'trace_request':
      return frameType.encode({ traceRequest: { id: frame.id, followMs: frame.followMs } })
    case 'trace':
      return frameType.encode({ trace: { document: frame.document } })
  }
}

/** The frame in these bytes, whose byte arrays alias them; undefined when it is malformed or of an unknown kind. */
export function decodeSyncFrame(bytes: Buffer): SyncFrame | undefined {
  if (bytes[0] === CHANGES_TAG) {
    const message = decodeMessage(bytes, 0)
    return message?.kind === 'changes' ? message : undefined
  }
  const frame = frameType.decode(bytes)
  if (frame === undefined || hasMistypedField(frame)) return undefined
  for (const [name, check] of CHECKS) {
    const body = frame[name]
    if (isFields(body)) return hasMistypedField(body) ? undefined : check(body)
  }
  return undefined
}

const CHECKS: readonly (readonly [string, (fields: Fields) => SyncFrame | undefined])[] = [
  ['snapshotRequest', checkSnapshotRequest],
  [
    'digestRequest',
    ({ cache }) => (isCacheName(cache) ? { kind: 'digest_request', cache } : undefined),
  ],
  ['digest', checkDigest],
  ['versionsRequest', checkVersionsRequest],
  ['versions', checkVersions],
  ['entriesRequest', checkEntriesRequest],
  ['appliedRequest', () => ({ kind: 'applied_request' })],
  ['end', ({ isComplete }) => ({ kind: 'end', isComplete: isComplete === true })],
  ['rings', checkRingsFrame],
  ['summaryRequest', () => ({ kind: 'summary_request' })],
  ['summary', (fields) => checkDocument('summary', fields)],
  ['traceRequest', checkTraceRequest],
  ['trace', (fields) => checkDocument('trace', fields)],
]

function checkSnapshotRequest(fields: Fields): SyncFrame | undefined {
  const { cache } = fields
  const told = checkLimits(fields)
  if (!isCacheName(cache) || told === undefined) return undefined
  return { kind: 'snapshot_request', cache, ...told }
}

/** The limits in a frame, or an empty object when it has none; undefined when they are malformed. */
function checkLimits({ limits }: Fields): { limits?: ToldLimits } | undefined {
  if (!isFields(limits)) return {}
  const { keysize, blocksize, timeoutMs, contexts, hasContexts } = limits
  if (hasMistypedField(limits) || !Array.isArray(contexts)) return undefined
  if (!isInteger(keysize, 1, MAX_KEYSIZE) || !isInteger(blocksize, 1, MAX_BLOCKSIZE))
    return undefined
  if (!isInteger(timeoutMs, 1, MAX_TIMEOUT_MS)) return undefined
  if (contexts.length > MAX_TOLD_CONTEXTS || !contexts.every(isContext)) return undefined
  const told = { keysize, blocksize, timeoutMs }
  return { limits: hasContexts === true ? { ...told, contexts } : told }
}

function checkDigest(fields: Fields): SyncFrame | undefined {
  const { buckets, entries, sessionRoom, removalRoom } = fields
  const bytes = bytesOf(buckets, 0, DIGEST_BYTES)
  if (bytes === undefined || bytes.length % DIGEST_BYTES !== 0) return undefined
  if (!isCount(entries) || !isCount(sessionRoom) || !isCount(removalRoom)) return undefined
  const told = checkLimits(fields)
  if (told === undefined) return undefined
  return { kind: 'digest', buckets: bytes, entries, sessionRoom, removalRoom, ...told }
}

function checkVersionsRequest({ cache, buckets }: Fields): SyncFrame | undefined {
  if (!isCacheName(cache) || !isList(buckets, DIGEST_BUCKETS) || !buckets.every(isBucket)) {
    return undefined
  }
  return { kind: 'versions_request', cache, buckets }
}

function checkVersions(fields: Fields): SyncFrame | undefined {
  const list = fields['versions']
  const versions = isList(list, MAX_IDS_PER_FRAME) ? checkList(list, checkVersion) : undefined
  return versions && { kind: 'versions', versions }
}

function checkVersion(fields: Fields): EntryVersion | undefined {
  const { id } = fields
  const clock = safeIntegerOf(fields['clock'])
  const origin = safeIntegerOf(fields['origin']) ?? 0
  const isTombstone = fields['isRemoved'] === true
  const maxClock = isTombstone ? MAX_VERSION_CLOCK : MAX_PUT_CLOCK
  if (!isId(id) || clock === undefined || clock < 1 || clock > maxClock) return undefined
  if (origin > MAX_ORIGIN) return undefined
  return { id, version: { clock, origin }, isTombstone }
}

function checkEntriesRequest(fields: Fields): SyncFrame | undefined {
  const { cache, ids } = fields
  const told = checkLimits(fields)
  if (!isCacheName(cache) || !isList(ids, MAX_IDS_PER_FRAME) || !ids.every(isId)) return undefined
  return told === undefined ? undefined : { kind: 'entries_request', cache, ids, ...told }
}

function checkRingsFrame(fields: Fields): SyncFrame | undefined {
  const rings = checkRings(fields)
  return rings && { kind: 'rings', rings }
}

function checkDocument(kind: 'summary' | 'trace', { document }: Fields): SyncFrame | undefined {
  if (!Buffer.isBuffer(document) || document.length < MIN_SUMMARY_BYTES) return undefined
  return document.length > MAX_SUMMARY_BYTES ? undefined : { kind, document }
}

function checkTraceRequest({ id, followMs = 0 }: Fields): SyncFrame | undefined {
  if (!isId(id) || !isCount(followMs) || followMs > MAX_FOLLOW_MS) return undefined
  return { kind: 'trace_request', id, followMs }
}

function fieldsOfLimits({ limits }: { limits?: ToldLimits }): Fields {
  if (limits === undefined) return {}
  const { keysize, blocksize, timeoutMs, contexts } = limits
  const isTold = contexts !== undefined && contexts.length <= MAX_TOLD_CONTEXTS
  const shared = { keysize, blocksize, timeoutMs }
  return { limits: isTold ? { ...shared, contexts, hasContexts: true } : shared }
}

function fieldsOfVersion({ id, version, isTombstone }: EntryVersion): Fields {
  const { clock, origin }: Version = version
  return { id, clock, origin, ...(isTombstone ? { isRemoved: true } : {}) }
}

function isList(value: unknown, max: number): value is readonly unknown[] {
  return Array.isArray(value) && value.length >= 1 && value.length <= max
}

function isId(value: unknown): value is Buffer {
  return Buffer.isBuffer(value) && value.length >= 1 && value.length <= MAX_KEYSIZE
}

function isBucket(value: unknown): value is number {
  return isCount(value) && value < DIGEST_BUCKETS
}

function isContext(value: unknown): value is Buffer {
  return Buffer.isBuffer(value) && value.length <= MAX_CONTEXT_BYTES
}

function isCount(value: unknown): value is number {
  return isInteger(value, 0, MAX_UINT32)
}
