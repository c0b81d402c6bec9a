// Encodes changes one after the other into one Changes message of limited size. What is added is
// encoded at once: nothing of the caller's is kept.

import type { Change } from '../store/change.ts'
import { loadMessageType } from './schema.ts'

const changesType = loadMessageType('replication.proto', 'tlscached.replication.Changes')

/** Tag and length (up to 2 MiB) of Message.changes, in front of everything. */
const PREFIX_BYTES = 4
/** Tag and value of Changes.sent_wall_ms, behind everything. */
const SENT_WALL_BYTES = 9
/** Tag of Message.changes: field 1, length-delimited. */
const CHANGES_TAG = 0x0a

export class ChangeBatch {
  readonly #ownOrigin: number
  readonly #buffer: Buffer
  /** Index in the message's table, by name of the cache. */
  readonly #caches = new Map<string, number>()
  #endBytes = PREFIX_BYTES
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
    const entry = this.#fieldsOf(change, cache)
    // Encoded messages of one type may be joined: their repeated fields are taken together.
    const piece = changesType.encode({
      ...(knownIndex === undefined ? { caches: [change.cache] } : {}),
      ...(change.kind === 'put' ? { puts: [entry] } : { removes: [entry] }),
    })
    if (this.#endBytes + piece.length + SENT_WALL_BYTES > this.#buffer.length) return false
    piece.copy(this.#buffer, this.#endBytes)
    this.#endBytes += piece.length
    this.#count += 1
    if (knownIndex === undefined) this.#caches.set(change.cache, cache)
    return true
  }

  /** The message with all that was added, valid until the next `add`; the batch is empty after it. */
  take(sentWallMs: number): Buffer {
    const end =
      this.#endBytes + changesType.encode({ sentWallMs }).copy(this.#buffer, this.#endBytes)
    const start = writePrefix(this.#buffer, end - PREFIX_BYTES)
    this.#endBytes = PREFIX_BYTES
    this.#count = 0
    this.#caches.clear()
    return this.#buffer.subarray(start, end)
  }

  #fieldsOf(change: Change, cache: number) {
    const { clock, origin } = change.version
    return {
      cache,
      id: change.id,
      ...(change.kind === 'put'
        ? { context: change.context, serverName: change.serverName, session: change.session }
        : {}),
      ttlMs: Math.max(1, Math.floor(change.ttlMs)),
      clock,
      ...(origin === this.#ownOrigin ? {} : { origin }),
    }
  }
}

/** Writes tag and length so that they end where the body begins; returns where they start. */
function writePrefix(buffer: Buffer, bodyBytes: number): number {
  const lengthBytes: number[] = []
  let left = bodyBytes
  for (; left > 0x7f; left >>>= 7) lengthBytes.push((left & 0x7f) | 0x80)
  lengthBytes.push(left)
  const start = PREFIX_BYTES - lengthBytes.length - 1
  buffer[start] = CHANGES_TAG
  buffer.set(lengthBytes, start + 1)
  return start
}
