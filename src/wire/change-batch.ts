// Encodes changes one after the other into one Changes message of limited size. A change is encoded when it is added,
// so the batch keeps none of the caller's memory.

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
