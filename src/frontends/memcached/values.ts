// How a memcached value is stored in the cache. A session is stored as its DER and has no flags. Any other value is
// stored as its own bytes or, where these are not enough, after a head of 8 bytes:
//
//   offset  size  field
//        0     4  mark: 00 6d 63 66
//        4     4  flags, big endian
//        8     n  value
//
// The head is there when flags are set, when the value is empty and when it begins with the mark itself.

import { tryReadEncodedSession } from '../../session/encoded-session.ts'
import type { SessionView } from '../../store/session-view.ts'
import { type KeyForm, readBase64url } from './keys.ts'

const MARK = Buffer.from('006d6366', 'hex')
export const HEAD_BYTES = 8

/** Forms of the keys of known programs. */
type SessionForm = 'session' | 'base64url_session'

export interface Value {
  readonly flags: number
  readonly data: Buffer
}

/** What a get found. */
export interface Entry {
  flags: number
  /** Valid until the cache changes or is asked again. */
  value: SessionView
}

/** Returns the length of the longest value that can be a session of `blocksize` bytes, which is its base64url. */
export function maxValueBytes(blocksize: number): number {
  return Math.ceil((blocksize * 4) / 3)
}

/** Returns the bytes to store; undefined for a session with flags, or in another encoding than its key demands. */
export function toStored(form: SessionForm, { flags, data }: Value): Buffer | undefined {
  if (form === 'base64url_session') {
    const session = readBase64url(data)
    if (session !== undefined && isSession(session)) return flags === 0 ? session : undefined
  }
  if (isSession(data)) return flags === 0 && form !== 'base64url_session' ? data : undefined
  return toStoredValue({ flags, data })
}

/** Returns the bytes to store for a value that is not stored as a session. */
export function toStoredValue({ flags, data }: Value): Buffer {
  if (flags === 0 && data.length > 0 && !hasMark(data)) return data
  const stored = Buffer.allocUnsafe(HEAD_BYTES + data.length)
  MARK.copy(stored)
  stored.writeUInt32BE(flags, MARK.length)
  data.copy(stored, HEAD_BYTES)
  return stored
}

export function fromStored(form: KeyForm, stored: Buffer): Value {
  if (stored[0] === MARK[0] && stored.length >= HEAD_BYTES && hasMark(stored)) {
    return { flags: stored.readUInt32BE(MARK.length), data: stored.subarray(HEAD_BYTES) }
  }
  if (form === 'base64url_session' && isSession(stored)) {
    return { flags: 0, data: Buffer.from(stored.toString('base64url'), 'latin1') }
  }
  return { flags: 0, data: stored }
}

/** Makes the entry show what is stored. A value that is stored as it was given is not copied. */
export function readView(form: KeyForm, stored: SessionView, entry: Entry): Entry {
  entry.flags = 0
  entry.value = stored
  if (form === 'base64url_session' || stored.bytes[stored.start] === MARK[0]) {
    const { flags, data } = fromStored(form, stored.session)
    entry.flags = flags
    entry.value = stored.detached(data)
  }
  return entry
}

function hasMark(bytes: Buffer): boolean {
  return bytes.length >= MARK.length && bytes.compare(MARK, 0, MARK.length, 0, MARK.length) === 0
}

function isSession(bytes: Buffer): boolean {
  return tryReadEncodedSession(bytes) !== undefined
}
