// The counters of one named cache, as plain numbers that other files export.

/** Results of a get. To the caller `expired` and `context_mismatch` are misses, too. */
export const GET_RESULTS = ['hit', 'miss', 'expired', 'context_mismatch'] as const
export type GetResult = (typeof GET_RESULTS)[number]

/**
 * Results of a put. `stored`: a new session. `replaced`: in the place of another one. All others are refusals:
 *
 * - `keysize`: the ID is empty or longer than the `keysize` of the cache;
 * - `blocksize`: the session is empty or larger than its `blocksize`;
 * - `context`: the session, or what is stored under its ID, has another context or server name, the `contexts` of the
 *   cache do not list it, or one of them is longer than it can be;
 * - `full`: the cache is full, and its `full` is `refuse` or the session is a copy of what a peer holds;
 * - `expired`: no lifetime is left;
 * - `early_data`: the session allows early data, which a replicated cache cannot guard from replay (RFC 8446, 8);
 * - `version`: a peer has used up the versions of this ID, so that no put can exceed them; its session was removed;
 * - `key_mismatch`: the session has another ID than it was to be stored under, or its layout is not that of its key.
 */
export const PUT_RESULTS = [
  'stored',
  'replaced',
  'keysize',
  'blocksize',
  'context',
  'full',
  'expired',
  'early_data',
  'version',
  'key_mismatch',
] as const
/** Result of a put: `stored`, `replaced`, or the reason for a refusal. PUT_RESULTS explains each. */
export type PutResult = (typeof PUT_RESULTS)[number]
export type RefusalReason = Exclude<PutResult, 'stored' | 'replaced'>

export function isRefusal(result: PutResult): result is RefusalReason {
  return result !== 'stored' && result !== 'replaced'
}

/** Results of a peer's change; `outdated` when one at least as new was known already. */
export const APPLY_RESULTS = ['applied', 'outdated', 'refused'] as const
export type ApplyResult = (typeof APPLY_RESULTS)[number]

export interface CacheStats {
  /** Gets by result; a remove under another context counts as `context_mismatch`, too. */
  readonly gets: Record<GetResult, number>
  readonly puts: Record<PutResult, number>
  /** Changes that other nodes sent, by result. */
  readonly applied: Record<ApplyResult, number>
  /** Changes that other nodes sent and that were refused, by reason. */
  readonly peerRefusals: Record<RefusalReason, number>
  /** Sessions taken out because a caller asked. */
  removes: number
  /** Sessions now held; never more than the cache's `items`. */
  items: number
  /** Bytes of encoded sessions now held. */
  storedBytes: number
  /** Bytes of memory outside the JavaScript heap that the arena has taken for records; never shrinks. */
  arenaBytes: number
  /** Removals now remembered. */
  tombstones: number
  /** Sessions evicted because the cache was full. */
  evicted: number
  /** Sessions taken out because their lifetime was over. */
  expired: number
  /** When a put or remove last changed this cache, on this node or a peer: ms since 1970; 0 when none has. */
  changedWallMs: number
}

export function createCacheStats(): CacheStats {
  return {
    gets: { hit: 0, miss: 0, expired: 0, context_mismatch: 0 },
    puts: {
      stored: 0,
      replaced: 0,
      keysize: 0,
      blocksize: 0,
      context: 0,
      full: 0,
      expired: 0,
      early_data: 0,
      version: 0,
      key_mismatch: 0,
    },
    applied: { applied: 0, outdated: 0, refused: 0 },
    peerRefusals: {
      keysize: 0,
      blocksize: 0,
      context: 0,
      full: 0,
      expired: 0,
      early_data: 0,
      version: 0,
      key_mismatch: 0,
    },
    removes: 0,
    items: 0,
    storedBytes: 0,
    arenaBytes: 0,
    tombstones: 0,
    evicted: 0,
    expired: 0,
    changedWallMs: 0,
  }
}
