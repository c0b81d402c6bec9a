// The caches listed in a greeting, with their limits, so that nodes notice where these differ.

import { createHash } from 'node:crypto'
import { type CacheLimits, MAX_BLOCKSIZE, MAX_KEYSIZE, MAX_TIMEOUT_MS } from '../store/limits.ts'
import { checkList, type Fields, isCacheName, isInteger, MAX_UINT32 } from './schema.ts'

/** Most caches in one greeting; a node with more lists others of them in each greeting. */
export const MAX_GREETED_CACHES = 8
/** Most bytes that the tags, lengths and numbers of one cache take in a greeting. */
const CACHE_OVERHEAD_BYTES = 24

export interface GreetedCache {
  readonly name: string
  readonly keysize: number
  readonly blocksize: number
  readonly timeoutMs: number
  /** The first 32 bits of a hash over the allowed contexts, never 0; 0 when the cache allows every context. */
  readonly contextsHash: number
}

/** The part of a greeting that describes the sender's caches. */
export interface GreetedCaches {
  readonly caches: readonly GreetedCache[]
  /** Number of all caches of the sender, listed here or not. */
  readonly cacheCount: number
}

export function greetedCacheOf(limits: CacheLimits): GreetedCache {
  const { name, keysize, blocksize, timeoutMs, contexts } = limits
  return { name, keysize, blocksize, timeoutMs, contextsHash: hashContexts(contexts) }
}

/** Most bytes that this cache takes in a greeting. */
export function greetedBytes({ name }: GreetedCache): number {
  return CACHE_OVERHEAD_BYTES + name.length
}

/** The caches in a decoded greeting; undefined when they are malformed. */
export function checkGreetedCaches({ caches, cacheCount }: Fields): GreetedCaches | undefined {
  if (!Array.isArray(caches) || caches.length > MAX_GREETED_CACHES) return undefined
  const listed = checkList(caches, checkCache)
  if (listed === undefined || !isInteger(cacheCount, 0, MAX_UINT32)) return undefined
  return { caches: listed, cacheCount }
}

function checkCache(fields: Fields): GreetedCache | undefined {
  const { name, keysize, blocksize, timeoutMs, contextsHash } = fields
  if (!isCacheName(name)) return undefined
  if (!isInteger(keysize, 1, MAX_KEYSIZE) || !isInteger(blocksize, 1, MAX_BLOCKSIZE))
    return undefined
  if (!isInteger(timeoutMs, 1, MAX_TIMEOUT_MS)) return undefined
  if (!isInteger(contextsHash, 0, MAX_UINT32)) return undefined
  return { name, keysize, blocksize, timeoutMs, contextsHash }
}

/**
 * Hashes each context with its length in front, in the order of their bytes, so that the order of the list is no
 * matter.
 */
function hashContexts(contexts: CacheLimits['contexts']): number {
  if (contexts === undefined) return 0
  const hash = createHash('sha256').update('tlscached contexts')
  for (const context of contexts.map((one) => Buffer.from(one)).sort(Buffer.compare)) {
    hash.update(Buffer.from([context.length])).update(context)
  }
  return hash.digest().readUInt32BE(0) || 1
}
