// The counters of one named cache.

import { by, type CountsOf, counter, gauge, one, valuesOf } from '../base/counters.ts'

/** Why a put is refused. */
export const REFUSALS = {
  keysize: 'the ID is empty or longer than the `keysize` of the cache',
  blocksize: 'the session is empty or larger than its `blocksize`',
  context:
    'the session, or what is stored under its ID, has another context or server name, the `contexts` of the cache do ' +
    'not list it, or one of them is longer than it can be',
  full: 'the cache is full, and its `full` is `refuse` or the session is a copy of what a peer holds',
  expired: 'no lifetime is left',
  early_data:
    'the session allows early data, which a replicated cache cannot guard from replay (RFC 8446, 8)',
  version:
    'a peer has used up the versions of this ID, so that no put can exceed them; its session was removed',
  key_mismatch:
    'the session has another ID than it was to be stored under, or its layout is not that of its key',
} as const

/** Counters of a cache; a get under another context, and a remove, count as `context_mismatch`. */
export const CACHE_COUNTERS = {
  /** Sessions now held; never more than the cache's `items`. */
  items: one(gauge('items', 'Sessions held.', 'cache')),
  /** Bytes of encoded sessions now held. */
  storedBytes: one(gauge('stored_bytes', 'Bytes of the sessions held.', 'cache')),
  /** Bytes of memory outside the JavaScript heap that the arena has taken for records; never shrinks. */
  arenaBytes: one(),
  /** Removals now remembered. */
  tombstones: one(),
  gets: by(
    'result',
    {
      hit: 'a session was returned',
      miss: 'there is none under this ID',
      expired: 'its lifetime was over',
      context_mismatch: 'it has another context or server name; removes under another context, too',
    },
    counter('gets_total', 'Gets by result; everything but a hit is a miss to the caller.', 'cache'),
  ),
  puts: by(
    'result',
    { stored: 'a new session', replaced: 'in the place of another one', ...REFUSALS },
    counter(
      'puts_total',
      'Puts by result; everything but stored and replaced was refused.',
      'cache',
    ),
  ),
  /** Changes that other nodes sent. */
  applied: by(
    'result',
    {
      applied: 'taken',
      outdated: 'one at least as new was known already',
      refused: 'counted by reason in `tlscached_replication_refused_total`',
    },
    counter('replication_applied_total', 'Changes of other nodes by what became of them.', 'cache'),
  ),
  peerRefusals: by(
    'reason',
    REFUSALS,
    counter(
      'replication_refused_total',
      'Changes of other nodes that were refused, by reason.',
      'cache',
    ),
  ),
  removes: one(counter('removes_total', 'Sessions taken out by callers.', 'cache')),
  evicted: one(counter('evicted_total', 'Sessions pushed out by newer ones.', 'cache')),
  expired: one(counter('expired_total', 'Sessions whose lifetime ended here.', 'cache')),
  /** When a put or remove last changed this cache, on this node or a peer: ms since 1970; 0 when none has. */
  changedWallMs: one(),
}

export type CacheStats = CountsOf<typeof CACHE_COUNTERS>
/** Results of a get. To the caller `expired` and `context_mismatch` are misses, too. */
export type GetResult = keyof CacheStats['gets']
/** Result of a put: `stored`, `replaced`, or the reason for a refusal, which `REFUSALS` explains. */
export type PutResult = keyof CacheStats['puts']
export type RefusalReason = keyof typeof REFUSALS
/** Results of a peer's change. */
export type ApplyResult = keyof CacheStats['applied']

export const GET_RESULTS = valuesOf(CACHE_COUNTERS.gets)
export const PUT_RESULTS = valuesOf(CACHE_COUNTERS.puts)

export function isRefusal(result: PutResult): result is RefusalReason {
  return result !== 'stored' && result !== 'replaced'
}
