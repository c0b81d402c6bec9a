// What one named cache counts. Plain numbers, exported elsewhere.

/** A `context_mismatch` and an `expired` are misses to the caller. */
export const GET_RESULTS = ['hit', 'miss', 'expired', 'context_mismatch'] as const
export type GetResult = (typeof GET_RESULTS)[number]

/**
 * What became of a put. `stored`: a new session. `replaced`: in the place of another one. Everything else is a refusal:
 *
 * - `keysize`: the ID is empty or longer than the `keysize` of the cache;
 * - `blocksize`: the session is empty or larger than its `blocksize`;
 * - `context`: the session, or what is stored under its ID, has another context or server name, the `contexts` of the cache do
 *   not list it, or one of them is longer than it can be;
 * - `full`: the cache is full, and its `full` is `refuse`;
 * - `expired`: no lifetime is left;
 * - `early_data`: the session allows early data (RFC 8446, section 8), which a replicated cache could not keep from replay;
 * - `version`: a peer left the largest version that there is under this ID, and the session that it left was removed;
 * - `key_mismatch`: the session has another ID than it was to be stored under, or is not written as the key says.
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
/** What became of a put: `stored`, `replaced`, or the reason for a refusal. See PUT_RESULTS for each. */
export type PutResult = (typeof PUT_RESULTS)[number]
export type RefusalReason = Exclude<PutResult, 'stored' | 'replaced'>

export function isRefusal(result: PutResult): result is RefusalReason {
  return result !== 'stored' && result !== 'replaced'
}

/** What became of a peer's change; `outdated` when one at least as new is known already. */
export const APPLY_RESULTS = ['applied', 'outdated', 'refused'] as const
export type ApplyResult = (typeof APPLY_RESULTS)[number]

export interface CacheStats {
  readonly gets: Record<GetResult, number>
  readonly puts: Record<PutResult, number>
  /** Changes that other nodes sent, by what became of them. */
  readonly applied: Record<ApplyResult, number>
  /** Changes that other nodes sent and that were refused, by reason. */
  readonly peerRefusals: Record<RefusalReason, number>
  /** Sessions taken out because a caller asked. */
  removes: number
  /** Sessions now held; never more than the cache's `items`. */
  items: number
  /** Bytes of encoded sessions now held. */
  storedBytes: number
  /** Bytes of memory the sessions and their records take outside the JavaScript heap. */
  arenaBytes: number
  /** Removals now remembered. */
  tombstones: number
  /** Pushed out because the cache was full. */
  evicted: number
  /** Taken out because their lifetime was over. */
  expired: number
  /** When something was last put or removed here, by whichever node: ms since 1970; 0 when nothing was. */
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
