// The datagrams of stunnel's sessiond protocol (stunnel: src/ctx.c, cache_transfer).
//
//   offset  size  field
//        0     1  version: 1
//        1     1  type: 0 new, 1 get, 2 remove; in answers 81 found, 80 not found
//        2     2  lifetime in seconds, big endian; 0 in get and remove
//        4    32  session ID; shorter ones are filled up with zeros
//       36     n  encoded session, 0..512 bytes: only in new and in found

import type { SessionView } from '../../store/session-view.ts'

export type SessiondKind = 'new' | 'get' | 'remove'

export interface SessiondRequest {
  readonly kind: SessiondKind
  readonly lifetimeSec: number
  /** 32 bytes; this and `session` are views of the datagram. */
  readonly id: Buffer
  /** Empty except in `new`. */
  readonly session: Buffer
}

export const MAX_SESSION_BYTES = 512

const VERSION = 1
const KINDS: readonly SessiondKind[] = ['new', 'get', 'remove']
const FOUND = 0x81
const NOT_FOUND = 0x80
const LIFETIME_AT = 2
const ID_AT = 4
const HEADER_BYTES = 36

/** Parses a datagram; undefined when it is not a request. */
export function parseRequest(datagram: Buffer): SessiondRequest | undefined {
  const { length } = datagram
  if (length < HEADER_BYTES || length > HEADER_BYTES + MAX_SESSION_BYTES) return undefined
  const kind = KINDS[datagram.readUInt8(1)]
  if (datagram[0] !== VERSION || kind === undefined) return undefined
  const hasSession = length > HEADER_BYTES
  if (hasSession !== (kind === 'new')) return undefined
  return {
    kind,
    lifetimeSec: datagram.readUInt16BE(LIFETIME_AT),
    id: datagram.subarray(ID_AT, HEADER_BYTES),
    session: datagram.subarray(HEADER_BYTES),
  }
}

/** Formats the answer to a get. `session` has at most 512 bytes; undefined means not found. */
export function formatAnswer(id: Buffer, session: SessionView | undefined): Buffer {
  // The memory is not initialised, so every byte of it is written below.
  const answer = Buffer.allocUnsafe(HEADER_BYTES + (session?.length ?? 0))
  answer[0] = VERSION
  answer[1] = session === undefined ? NOT_FOUND : FOUND
  answer.writeUInt16BE(0, LIFETIME_AT)
  id.copy(answer, ID_AT)
  if (session !== undefined) {
    const { bytes, start, length } = session
    bytes.copy(answer, HEADER_BYTES, start, start + length)
  }
  return answer
}
