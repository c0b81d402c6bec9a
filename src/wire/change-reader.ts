// The fast decoder of messages with changes, which makes no object for each field. It reads only the order of fields
// that change-batch.ts writes; other orders, and values out of bounds, are left to the general decoder (message.ts).

import type { Change } from '../store/change.ts'
import {
  CACHE_NAME_PATTERN,
  MAX_BLOCKSIZE,
  MAX_CONTEXT_BYTES,
  MAX_KEYSIZE,
  MAX_SERVER_NAME_BYTES,
  MAX_TIMEOUT_MS,
} from '../store/limits.ts'
import { MAX_PUT_CLOCK, MAX_VERSION_CLOCK } from '../store/version-clock.ts'
import { CHANGES, ENTRY, MESSAGE_CHANGES } from './change-tags.ts'
import { FieldReader } from './field-reader.ts'
import { MAX_ORIGIN } from './identity.ts'

export interface ChangesMessage {
  readonly kind: 'changes'
  readonly sentWallMs: number
  /** The changes, whose byte arrays alias the message. */
  readonly changes: readonly Change[]
}

/** Undefined when this decoder cannot read the message. `senderOrigin` is the origin of changes that have none. */
export function readChanges(message: Buffer, senderOrigin: number): ChangesMessage | undefined {
  const fields = new FieldReader(message)
  const bodyBytes = fields.varint(MESSAGE_CHANGES)
  if (bodyBytes === 0 || fields.at + bodyBytes !== message.length) return undefined
  const caches: string[] = []
  const changes: Change[] = []
  // Most entries of a message have the same context, so equal neighbours share one array.
  let context: Uint8Array = new Uint8Array(0)
  while (!fields.isAt(CHANGES.sentWallMs)) {
    if (fields.isAt(CHANGES.caches)) {
      const name = fields.ascii(CHANGES.caches)
      if (!CACHE_NAME_PATTERN.test(name)) return undefined
      caches.push(name)
      continue
    }
    const change = readChange(fields, caches, context, senderOrigin)
    if (change === undefined) return undefined
    if (change.kind === 'put') context = change.context
    changes.push(change)
  }
  const sentWallMs = fields.fixed64(CHANGES.sentWallMs)
  if (fields.at !== message.length || changes.length === 0) return undefined
  return isWithin(sentWallMs, 1, Number.MAX_SAFE_INTEGER)
    ? { kind: 'changes', sentWallMs, changes }
    : undefined
}

function readChange(
  fields: FieldReader,
  caches: readonly string[],
  lastContext: Uint8Array,
  senderOrigin: number,
): Change | undefined {
  const isPut = fields.isAt(CHANGES.puts)
  const entryBytes = fields.varint(isPut ? CHANGES.puts : CHANGES.removes)
  const end = fields.at + entryBytes
  const cache = caches[fields.varint(ENTRY.cache)]
  const id = fields.bytes(ENTRY.id)
  const context = isPut ? fields.bytesLike(ENTRY.context, lastContext) : lastContext
  const serverName = isPut ? fields.ascii(ENTRY.serverName) : ''
  const session = isPut ? fields.bytes(ENTRY.session) : id
  const ttlMs = fields.varint(ENTRY.ttlMs)
  const clock = fields.fixed64(ENTRY.clock)
  const origin =
    fields.isAt(ENTRY.origin) && fields.at < end ? fields.fixed64(ENTRY.origin) : senderOrigin
  const ageMs = isPut && fields.at < end ? fields.varint(ENTRY.ageMs) : 0
  if (fields.at !== end || cache === undefined) return undefined
  if (!isWithin(id.length, 1, MAX_KEYSIZE) || !isWithin(ttlMs, 1, MAX_TIMEOUT_MS)) return undefined
  const maxClock = isPut ? MAX_PUT_CLOCK : MAX_VERSION_CLOCK
  if (!isWithin(clock, 1, maxClock) || !isWithin(origin, 0, MAX_ORIGIN)) return undefined
  const version = { clock, origin }
  if (!isPut) return { kind: 'remove', cache, id, ttlMs, version }
  if (context.length > MAX_CONTEXT_BYTES || serverName.length > MAX_SERVER_NAME_BYTES)
    return undefined
  if (!isWithin(session.length, 1, MAX_BLOCKSIZE)) return undefined
  const put = { kind: 'put' as const, cache, id, context, serverName, session, ttlMs, version }
  if (ageMs === 0) return put
  return ageMs <= MAX_TIMEOUT_MS ? { ...put, ageMs } : undefined
}

/** Whether the value is in the range, ends included; false for NaN. */
function isWithin(value: number, min: number, max: number): boolean {
  return value >= min && value <= max
}
