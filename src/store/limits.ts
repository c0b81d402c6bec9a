// The limits of one named cache, and their bounds.

export { MAX_CONTEXT_BYTES } from '../session/context.ts'

export interface CacheLimits {
  readonly name: string
  /** Most sessions held: N holds N. */
  readonly items: number
  /** Longest session ID in bytes. */
  readonly keysize: number
  /** Largest encoded session in bytes. */
  readonly blocksize: number
  /** Longest lifetime of a session, and how long a removal is remembered. */
  readonly timeoutMs: number
  /** The only session ID contexts accepted; undefined accepts every one. */
  readonly contexts?: readonly Uint8Array[]
  /** What a put into a full cache does: push out the least recently used session, or fail. */
  readonly full: 'evict' | 'refuse'
}

/** Name of a cache: also a path segment and a label value. */
export const CACHE_NAME_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/
export const MAX_ITEMS = 16_777_216
/** memcached's longest key is 250 bytes; IDs of OpenSSL have 32. */
export const MAX_KEYSIZE = 255
/** A client certificate chain never travels in a session, one leaf does: 64 KiB is ample. */
export const MAX_BLOCKSIZE = 65_536
/** RFC 8446 4.6.1: no TLS 1.3 ticket lives longer than 7 days. */
export const MAX_TIMEOUT_MS = 604_800_000
/** A DNS name has at most 253 characters (RFC 1035); RFC 6066 allows no other kind of server name. */
export const MAX_SERVER_NAME_BYTES = 255
