// The limits of one named cache, and their bounds.

export { MAX_CONTEXT_BYTES } from '../session/encoded-session.ts'

export interface CacheLimits {
  readonly name: string
  /** Most sessions held: a cache with `items` N does hold N sessions. */
  readonly items: number
  /** Longest session ID in bytes. */
  readonly keysize: number
  /** Largest encoded session in bytes. */
  readonly blocksize: number
  /** Longest lifetime of a session, and how long a removal is remembered. */
  readonly timeoutMs: number
  /** The only session ID contexts accepted; undefined accepts every one. */
  readonly contexts?: readonly Uint8Array[]
  /** Most bytes of memory for the cache, its index included; undefined: as many as `items` sessions need. */
  readonly memoryBytes?: number
  /** What a put into a full cache does: push out the least recently used session, or fail. */
  readonly full: 'evict' | 'refuse'
}

/**
 * Bytes of the index on the JavaScript heap for each of `items`, when the cache holds that many sessions and that many
 * tombstones (measured at 20,000 and 1,000,000 items: 138 to 149).
 */
export const INDEX_HEAP_BYTES = 160
/** Bytes of the index in all for each of `items`: beside the heap 53 to 66 were measured. */
export const INDEX_BYTES = INDEX_HEAP_BYTES + 72
/** Bytes of the record of a usual TLS 1.2 session without a client certificate. */
const USUAL_RECORD_BYTES = 208

/** How many items fit into this memory together with their index when all sessions have the usual size; at least 1. */
export function itemsWithin(memoryBytes: number): number {
  return Math.max(1, Math.floor(memoryBytes / (INDEX_BYTES + USUAL_RECORD_BYTES)))
}

/** Bytes of the cache's memory that are left for sessions after its index; undefined when it has no `memoryBytes`. */
export function arenaBudgetBytes({ memoryBytes, items }: CacheLimits): number | undefined {
  return memoryBytes === undefined ? undefined : memoryBytes - items * INDEX_BYTES
}

/**
 * Smallest memory of a cache. The arena then has 121 pages for 23 block sizes at 4 KiB sessions, 30 for 38 at 64 KiB.
 */
export const MIN_MEMORY_BYTES = 16_777_216
export const MAX_MEMORY_BYTES = 2 ** 40

/** What names of caches look like: they are used as path segments and as label values, too. */
export const CACHE_NAME_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/
export const MAX_ITEMS = 16_777_216
/** Largest `keysize`: memcached's longest key has 250 bytes, OpenSSL's session IDs have at most 32. */
export const MAX_KEYSIZE = 255
/** Largest `blocksize`: a session contains the client's own certificate, never its chain, so 64 KiB are ample. */
export const MAX_BLOCKSIZE = 65_536
/** Largest `timeout`: by RFC 8446, section 4.6.1, no TLS 1.3 ticket lives longer than 7 days. */
export const MAX_TIMEOUT_MS = 604_800_000
/** Longest server name: a DNS name has at most 253 characters (RFC 1035), and RFC 6066 allows no other kind of name. */
export const MAX_SERVER_NAME_BYTES = 255
