// Encodes changes one after the other into one Changes message of limited size. What is added is
// encoded at once: nothing of the caller's is kept.

import type { Change } from '../store/change.ts'
import { CHANGES, ENTRY, MESSAGE_CHANGES } from './change-tags.ts'
import {
  bytesFieldBytes,
  FIXED64_FIELD_BYTES,
  varintBytes,
  varintFieldBytes,
  writeBytesField,
  writeFixed64Field,
  writeLengthField,
  writeTextField,
  writeVarintField,
} from './field-writer.ts'

/** Tag and length (up to 2 MiB) of Message.changes, in front of everything. */
const PREFIX_BYTES = 4

export class ChangeBatch {
  readonly #ownOrigin: number
  readonly #buffer: Buffer
  /** Where the next change goes. */
  #at = PREFIX_BYTES
  /** Index in the message's table, by name of the cache. */
  readonly #caches = new Map<string, number>()
  #count = 0

  /** `maxBytes` is the largest message it may become; changes of `ownOrigin` go without an origin. */
  constructor(maxBytes: number, ownOrigin: number) {
    this.#ownOrigin = ownOrigin
    this.#buffer = Buffer.allocUnsafe(maxBytes)
  }

  /** Changes now in the batch. */
  get count(): number {
    return this.#count
  }

  /** Whether the change went in; false leaves the batch as it was, for want of room. */
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
      // Names of caches are ASCII.
      at = writeTextField(buffer, at, CHANGES.caches, change.cache, change.cache.length)
      this.#caches.set(change.cache, cache)
    }
    const tag = change.kind === 'put' ? CHANGES.puts : CHANGES.removes
    at = writeLengthField(buffer, at, tag, entryBytes)
    this.#at = this.#writeEntry(at, change, cache, ttlMs, nameBytes)
    this.#count += 1
    return true
  }

  /** The message with all that was added, valid until the next `add`; the batch is empty after it. */
  take(sentWallMs: number): Buffer {
    const buffer = this.#buffer
    const end = writeFixed64Field(buffer, this.#at, CHANGES.sentWallMs, sentWallMs)
    const bodyBytes = end - PREFIX_BYTES
    // Tag and length end where the body begins.
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

  /** Where it ends. */
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

/** Most have no server name: then no native code is called. */
function utf8Bytes(text: string): number {
  return text === '' ? 0 : Buffer.byteLength(text)
}
