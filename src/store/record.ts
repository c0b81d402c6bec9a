// The bytes of one entry in its block, in the machine's byte order; they never leave the process.
//
//   offset  size  field
//        0     4  slot number (the arena's)
//        4     1  kind: 0 session, 1 tombstone
//        5     1  length of the session ID, i
//        6     1  length of the session ID context, c
//        7     1  length of the server name in UTF-8, n
//        8     8  version: clock, f64
//       16     8  version: origin, f64
//       24     8  when its lifetime is over: monotonic ms, f64
//       32     4  length of the encoded session, s
//       36     4  its whole lifetime in ms, from the put on the node that made it; 0 for a tombstone
//       40     i  session ID
//       ..     c  session ID context
//       ..     n  server name
//       ..        up to 7 unused: the session begins at a multiple of 8
//       ..     s  encoded session

import { endianness } from 'node:os'
import { wholeLongs } from '../base/bytes.ts'
import {
  type Arena,
  BLOCK_HEADER_BYTES,
  type BlockCursor,
  maxArenaBytes,
  NO_PAGE,
} from './arena.ts'
import { bucketOf, type EntryHash } from './digest.ts'
import {
  arenaBudgetBytes,
  type CacheLimits,
  MAX_CONTEXT_BYTES,
  MAX_SERVER_NAME_BYTES,
} from './limits.ts'
import { SessionCopies, SessionView } from './session-view.ts'
import type { Version } from './versions.ts'

const KIND = 4
const ID_LENGTH = 5
const CONTEXT_LENGTH = 6
const NAME_LENGTH = 7
const CLOCK = 8
const ORIGIN = 16
const EXPIRES_AT = 24
const SESSION_LENGTH = 32
const LIFETIME = 36
const FIELDS_BYTES = 40
const WORD_BYTES = 4
const IS_LITTLE_ENDIAN = endianness() === 'LE'

const TOMBSTONE = 1

/** Up to this many bytes a plain loop is faster than a call into native code. */
const MAX_LOOP_BYTES = 16

export interface RecordFields {
  readonly id: Uint8Array
  readonly context: Uint8Array
  readonly serverName: string
  readonly session: Uint8Array
}

export interface RecordStamp {
  readonly version: Version
  /** When the lifetime ends, in ms of the monotonic clock. */
  readonly expiresAtMs: number
  /**
   * Milliseconds from the put on the node that made the entry until `expiresAtMs`, at most MAX_TIMEOUT_MS; a record
   * holds whole ones. 0 for a tombstone.
   */
  readonly lifetimeMs: number
}

/** Bytes to allocate for a record with parts of these lengths, the arena's own header not counted. */
function recordBytes(
  idBytes: number,
  contextBytes: number,
  nameBytes: number,
  sessionBytes: number,
): number {
  const sessionAt = wholeLongs(FIELDS_BYTES + idBytes + contextBytes + nameBytes)
  return sessionAt + sessionBytes - BLOCK_HEADER_BYTES
}

/** Bytes to allocate for the largest record in a cache with these limits. */
export function largestRecordBytes({ keysize, blocksize }: CacheLimits): number {
  return recordBytes(keysize, MAX_CONTEXT_BYTES, MAX_SERVER_NAME_BYTES, blocksize)
}

const NO_NAME = Buffer.alloc(0)

/** A server name in UTF-8, as records hold it. */
function nameBytes(serverName: string): Uint8Array {
  return serverName === '' ? NO_NAME : Buffer.from(serverName, 'utf8')
}

/** Bytes to allocate for the record of this session. */
export function sessionRecordBytes({ id, context, serverName, session }: RecordFields): number {
  const nameLength = Buffer.byteLength(serverName)
  return recordBytes(id.length, context.length, nameLength, session.length)
}

/** Bytes to allocate for the record of a tombstone. */
export function tombstoneRecordBytes(idBytes: number): number {
  return recordBytes(idBytes, 0, 0, 0)
}

/** Upper bound of the arena's pages for a cache in bytes: its memory budget, or every record at its largest size. */
export function maxRecordBytes(limits: CacheLimits): number {
  const { items, keysize } = limits
  const sessions = { blocks: items, blockBytes: largestRecordBytes(limits) }
  const tombstones = { blocks: items, blockBytes: tombstoneRecordBytes(keysize) }
  return arenaBudgetBytes(limits) ?? maxArenaBytes([sessions, tombstones])
}

/** Allocates a block for this slot, which has none, and writes an entry into it. */
export function writeRecord(
  arena: Arena,
  slot: number,
  fields: RecordFields,
  stamp: RecordStamp,
  isTombstone = false,
): void {
  const { id, context, session } = fields
  const { version, expiresAtMs, lifetimeMs } = stamp
  const serverName = nameBytes(fields.serverName)
  const length = recordBytes(id.length, context.length, serverName.length, session.length)
  const { page, start } = arena.allocate(slot, length)
  const { bytes, words, doubles } = page
  bytes[start + KIND] = isTombstone ? TOMBSTONE : 0
  bytes[start + ID_LENGTH] = id.length
  bytes[start + CONTEXT_LENGTH] = context.length
  bytes[start + NAME_LENGTH] = serverName.length
  doubles[(start + CLOCK) >>> 3] = version.clock
  doubles[(start + ORIGIN) >>> 3] = version.origin
  doubles[(start + EXPIRES_AT) >>> 3] = expiresAtMs
  words[(start + SESSION_LENGTH) >>> 2] = session.length
  words[(start + LIFETIME) >>> 2] = lifetimeMs
  let at = start + FIELDS_BYTES
  at = writeShort(bytes, at, id)
  at = writeShort(bytes, at, context)
  at = writeShort(bytes, at, serverName)
  bytes.set(session, wholeLongs(at))
}

/** Writes at most 255 bytes at `start` and returns the offset after them. */
function writeShort(target: Buffer, start: number, source: Uint8Array): number {
  const { length } = source
  if (length > MAX_LOOP_BYTES) target.set(source, start)
  else for (let index = 0; index < length; index += 1) target[start + index] = source[index] ?? 0
  return start + length
}

/** Reads one record at a time, the one that it was opened on last, so that a lookup allocates nothing. */
export class RecordReader {
  readonly #arena: Arena
  readonly #at: BlockCursor = { page: NO_PAGE, start: 0 }
  #slot = -1
  /** The arena's `changes` when the slot was opened: another value means that its block may have moved. */
  #changes = 0
  readonly #copies = new SessionCopies()
  readonly #view = new SessionView()

  constructor(arena: Arena) {
    this.#arena = arena
  }

  /** Sets the reader onto this slot's record, which it reads correctly until the arena frees a block. */
  open(slot: number): this {
    const { changes } = this.#arena
    if (slot !== this.#slot || changes !== this.#changes) {
      this.#arena.seek(slot, this.#at)
      this.#slot = slot
      this.#changes = changes
    }
    return this
  }

  /** Like `open`, for a caller that has the slot's block already. */
  openAt(slot: number, { page, start }: BlockCursor): this {
    this.#at.page = page
    this.#at.start = start
    this.#slot = slot
    this.#changes = this.#arena.changes
    return this
  }

  get isTombstone(): boolean {
    return this.#byte(KIND) === TOMBSTONE
  }

  get version(): Version {
    return { clock: this.#clock(), origin: this.#origin() }
  }

  get expiresAtMs(): number {
    return this.#at.page.doubles[(this.#at.start + EXPIRES_AT) >>> 3] ?? 0
  }

  get lifetimeMs(): number {
    return this.#at.page.words[(this.#at.start + LIFETIME) >>> 2] ?? 0
  }

  get sessionBytes(): number {
    return this.#at.page.words[(this.#at.start + SESSION_LENGTH) >>> 2] ?? 0
  }

  /** Computes the digest's hash of this entry, over its ID, version and kind. */
  hashInto(hash: EntryHash): void {
    const { page, start } = this.#at
    const idBytes = this.#byte(ID_LENGTH)
    const { isTombstone } = this
    hash.compute(
      page.bytes,
      start + FIELDS_BYTES,
      idBytes,
      this.#clock(),
      this.#origin(),
      isTombstone,
    )
  }

  /** Number of the digest's bucket that this entry is in. */
  get bucket(): number {
    return bucketOf(this.#clock(), this.#origin())
  }

  hasId(id: Uint8Array): boolean {
    return this.#equals(this.#at.start + FIELDS_BYTES, this.#byte(ID_LENGTH), id)
  }

  /** Whether the entry's ID equals the `length` bytes of the view from `start` on. */
  hasIdIn(view: DataView, start: number, length: number): boolean {
    if (length !== this.#byte(ID_LENGTH)) return false
    const { bytes, words } = this.#at.page
    const id = this.#at.start + FIELDS_BYTES
    let at = 0
    for (; at + WORD_BYTES <= length; at += WORD_BYTES) {
      if (words[(id + at) >>> 2] !== view.getUint32(start + at, IS_LITTLE_ENDIAN)) return false
    }
    for (; at < length; at += 1) {
      if (bytes[id + at] !== view.getUint8(start + at)) return false
    }
    return true
  }

  hasContext(context: Uint8Array): boolean {
    return this.#equals(this.#contextAt(), this.#byte(CONTEXT_LENGTH), context)
  }

  hasServerName(serverName: string): boolean {
    return this.#equals(this.#nameAt(), this.#byte(NAME_LENGTH), nameBytes(serverName))
  }

  copyId(): Buffer {
    return this.#copy(this.#at.start + FIELDS_BYTES, this.#byte(ID_LENGTH))
  }

  copyContext(): Buffer {
    return this.#copy(this.#contextAt(), this.#byte(CONTEXT_LENGTH))
  }

  copyServerName(): string {
    const at = this.#nameAt()
    return this.#at.page.bytes.toString('utf8', at, at + this.#byte(NAME_LENGTH))
  }

  copySession(): Buffer {
    return this.#copies.take(this.#at.page, this.#sessionAt(), this.sessionBytes)
  }

  /** A view of the session. There is one shared view, which the next call overwrites. */
  viewSession(ttlMs: number): SessionView {
    const { page, start } = this.#at
    const versionAt = (start + CLOCK) >>> 3
    return this.#view.set(ttlMs, page, this.#sessionAt(), this.sessionBytes, versionAt)
  }

  #clock(): number {
    return this.#at.page.doubles[(this.#at.start + CLOCK) >>> 3] ?? 0
  }

  #origin(): number {
    return this.#at.page.doubles[(this.#at.start + ORIGIN) >>> 3] ?? 0
  }

  #contextAt(): number {
    return this.#at.start + FIELDS_BYTES + this.#byte(ID_LENGTH)
  }

  #nameAt(): number {
    return this.#contextAt() + this.#byte(CONTEXT_LENGTH)
  }

  #sessionAt(): number {
    return wholeLongs(this.#nameAt() + this.#byte(NAME_LENGTH))
  }

  #byte(field: number): number {
    return this.#at.page.bytes[this.#at.start + field] ?? 0
  }

  #equals(at: number, length: number, expected: Uint8Array): boolean {
    if (length !== expected.length) return false
    const { bytes } = this.#at.page
    for (let index = 0; index < length; index += 1) {
      if (bytes[at + index] !== expected[index]) return false
    }
    return true
  }

  #copy(at: number, length: number): Buffer {
    const copy = Buffer.allocUnsafe(length)
    this.#at.page.bytes.copy(copy, 0, at, at + length)
    return copy
  }
}
