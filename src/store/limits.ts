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
  /** Most bytes of memory that the cache takes, its index included; undefined: as many as `items` sessions need. */
  readonly memoryBytes?: number
  /** What a put into a full cache does: push out the least recently used session, or fail. */
  readonly full: 'evict' | 'refuse'
}

/**
 * Bytes of the index for each of `items`, when the cache holds as many sessions and as many tombstones: on the JavaScript
 * heap, and beside it (measured at 20,000 and 1,000,000 items: 138 to 149, and 53 to 66).
 */
export const INDEX_HEAP_BYTES = 160
export const INDEX_BYTES = INDEX_HEAP_BYTES + 72
/** Bytes of the record of a usual session of TLS 1.2, without a client certificate. */
const USUAL_RECORD_BYTES = 208

/** The most items that a cache with so much memory is worth having an index for. */
export function itemsWithin(memoryBytes: number): number {
  return Math.max(1, Math.floor(memoryBytes / (INDEX_BYTES + USUAL_RECORD_BYTES)))
}

/** The part of the cache's memory that is for sessions; undefined when its memory goes by its items. */
export function arenaBudgetBytes({ memoryBytes, items }: CacheLimits): number | undefined {
  return memoryBytes === undefined ? undefined : memoryBytes - items * INDEX_BYTES
}

/** Smallest memory of a cache: some pages for each size of blocks, though all sizes are there. */
export const MIN_MEMORY_BYTES = 16_777_216
export const MAX_MEMORY_BYTES = 2 ** 40

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
