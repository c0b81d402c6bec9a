// Messages with changes, which are written and read at every put: encoded and decoded without protobufjs, in an order
// of fields that both sides know. A tag is the field's number in replication.proto times 8 plus its wire type.

import {
  CACHE_NAME_PATTERN,
  MAX_BLOCKSIZE,
  MAX_CONTEXT_BYTES,
  MAX_KEYSIZE,
  MAX_SERVER_NAME_BYTES,
  MAX_TIMEOUT_MS,
} from '../store/limits.ts'
import { type Change, MAX_PUT_CLOCK, MAX_VERSION_CLOCK } from '../store/versions.ts'
import {
  bytesFieldBytes,
  FIXED64_FIELD_BYTES,
  FieldReader,
  varintBytes,
  varintFieldBytes,
  writeBytesField,
  writeFixed64Field,
  writeLengthField,
  writeTextField,
  writeVarintField,
} from './fields.ts'
import { MAX_ORIGIN } from './identity.ts'

const VARINT = 0
const FIXED64 = 1
const BYTES = 2

/** Tag of Message.changes. */
export const MESSAGE_CHANGES = tag(1, BYTES)

/** Tags of the fields of Changes. */
export const CHANGES = {
  sentWallMs: tag(1, FIXED64),
  caches: tag(2, BYTES),
  puts: tag(3, BYTES),
  removes: tag(4, BYTES),
} as const

/** Tags of the fields of Put. Remove has the same ones except context, server name, session and age. */
export const ENTRY = {
  cache: tag(1, VARINT),
  id: tag(2, BYTES),
  context: tag(3, BYTES),
  serverName: tag(4, BYTES),
  session: tag(5, BYTES),
  ttlMs: tag(6, VARINT),
  clock: tag(7, FIXED64),
  origin: tag(8, FIXED64),
  ageMs: tag(9, VARINT),
} as const

/** The tag of a field whose number is below 16, so that one byte is enough. */
function tag(field: number, wireType: number): number {
  return (field << 3) | wireType
}

// Encodes changes one after the other into one Changes message of limited size. A change is encoded when it is added,
// so the batch keeps none of the caller's memory.

/** Room in front of the message for tag and length of Message.changes, whose body has less than 2 MiB. */
const PREFIX_BYTES = 4

export class ChangeBatch {
  readonly #ownOrigin: number
  readonly #buffer: Buffer
  /** Offset at which the next change is written. */
  #at = PREFIX_BYTES
  /** Index of each cache in the message's table of names. */
  readonly #caches = new Map<string, number>()
  #count = 0

  /** `maxBytes` limits the message; changes whose origin is `ownOrigin` are written without their origin. */
  constructor(maxBytes: number, ownOrigin: number) {
    this.#ownOrigin = ownOrigin
    this.#buffer = Buffer.allocUnsafe(maxBytes)
  }

  /** Number of changes now in the batch. */
  get count(): number {
    return this.#count
  }

  /** Adds a change; returns false, and leaves the batch unchanged, when there is no room for it. */
  add(change: Change): boolean {
    const knownIndex = this.#caches.get(change.cache)
    const cache = knownIndex ?? this.#caches.size
    const ttlMs = Math.max(1, Math.floor(change.ttlMs))
    const nameBytes = change.kind === 'put' ? utf8Bytes(change.serverName) : 0
    const entryBytes = this.#entryBytes(change, cache, ttlMs, nameBytes)
    const tableBytes = knownIndex === undefined ? bytesFieldBytes(change.cache.length) : 0
    const buffer = this.#buffer
    const addedBytes = tableBytes + bytesFieldBytes(entryBytes)
    let at = this.#at
    if (at + addedBytes + FIXED64_FIELD_BYTES > buffer.length) return false
    if (knownIndex === undefined) {
      // Names of caches are ASCII, so their length in bytes is that in characters.
      at = writeTextField(buffer, at, CHANGES.caches, change.cache, change.cache.length)
      this.#caches.set(change.cache, cache)
    }
    const tag = change.kind === 'put' ? CHANGES.puts : CHANGES.removes
    at = writeLengthField(buffer, at, tag, entryBytes)
    this.#at = this.#writeEntry(at, change, cache, ttlMs, nameBytes)
    this.#count += 1
    return true
  }

  /** Returns the message with all added changes, valid until the next `add`, and empties the batch. */
  take(sentWallMs: number): Buffer {
    const buffer = this.#buffer
    const end = writeFixed64Field(buffer, this.#at, CHANGES.sentWallMs, sentWallMs)
    const bodyBytes = end - PREFIX_BYTES
    // Tag and length are written so that they end where the body begins.
    const start = PREFIX_BYTES - 1 - varintBytes(bodyBytes)
    writeLengthField(buffer, start, MESSAGE_CHANGES, bodyBytes)
    this.#at = PREFIX_BYTES
    this.#count = 0
    this.#caches.clear()
    return buffer.subarray(start, end)
  }

  #entryBytes(change: Change, cache: number, ttlMs: number, nameBytes: number): number {
    const sharedBytes =
      varintFieldBytes(cache) +
      bytesFieldBytes(change.id.length) +
      varintFieldBytes(ttlMs) +
      (change.version.origin === this.#ownOrigin ? 1 : 2) * FIXED64_FIELD_BYTES
    if (change.kind === 'remove') return sharedBytes
    const { context, session, ageMs = 0 } = change
    return (
      sharedBytes +
      bytesFieldBytes(context.length) +
      bytesFieldBytes(nameBytes) +
      bytesFieldBytes(session.length) +
      (ageMs === 0 ? 0 : varintFieldBytes(ageMs))
    )
  }

  /** Writes one put or removal at `start` and returns the offset after it. */
  #writeEntry(
    start: number,
    change: Change,
    cache: number,
    ttlMs: number,
    nameBytes: number,
  ): number {
    const buffer = this.#buffer
    let at = writeVarintField(buffer, start, ENTRY.cache, cache)
    at = writeBytesField(buffer, at, ENTRY.id, change.id)
    if (change.kind === 'put') {
      at = writeBytesField(buffer, at, ENTRY.context, change.context)
      at = writeTextField(buffer, at, ENTRY.serverName, change.serverName, nameBytes)
      at = writeBytesField(buffer, at, ENTRY.session, change.session)
    }
    const { clock, origin } = change.version
    at = writeVarintField(buffer, at, ENTRY.ttlMs, ttlMs)
    at = writeFixed64Field(buffer, at, ENTRY.clock, clock)
    if (origin !== this.#ownOrigin) at = writeFixed64Field(buffer, at, ENTRY.origin, origin)
    const ageMs = change.kind === 'put' ? (change.ageMs ?? 0) : 0
    return ageMs === 0 ? at : writeVarintField(buffer, at, ENTRY.ageMs, ageMs)
  }
}

/** Bytes of the text in UTF-8. Most server names are empty: no native code is called for those. */
function utf8Bytes(text: string): number {
  return text === '' ? 0 : Buffer.byteLength(text)
}

// The decoder, which makes no object for each field. It reads only the order of fields that `ChangeBatch` writes; other
// orders, and values out of bounds, are left to the general decoder (message.ts).

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
