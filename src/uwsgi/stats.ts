// Counters of one listener of uWSGI's cache-udp: plain numbers, which the metrics export.

import { MALFORMED_REASONS } from './datagram.ts'

/**
 * Why a datagram was dropped, besides being malformed; `expiry` also counts times more than a year ahead.
 * `unlisted`: the sender is not one of the peers. `relative`: the expiry is a lifetime and not a time, which uWSGI
 * sends with purge_lru. `expired`: the expiry time is over. `unchanged`: the same session is stored already.
 * `unknown`: a delete of a session that is not stored. `keysize` to `key_mismatch`: why the cache refused the
 * session. `queue_full` and `too_large`: why a change was not sent.
 */
export const CACHE_UDP_DROP_REASONS = [
  ...MALFORMED_REASONS,
  'unlisted',
  'relative',
  'expired',
  'unchanged',
  'unknown',
  'keysize',
  'blocksize',
  'context',
  'full',
  'early_data',
  'version',
  'key_mismatch',
  'queue_full',
  'too_large',
] as const
export type CacheUdpDropReason = (typeof CACHE_UDP_DROP_REASONS)[number]

export interface CacheUdpStats {
  /** Datagrams handed to the network, counted once per destination. */
  datagramsSent: number
  /** Datagrams received, without our own that a multicast group delivered to us. */
  datagramsReceived: number
  /** Received sets that were stored. */
  stored: number
  /** Received deletes that removed a session. */
  removed: number
  readonly dropped: Record<CacheUdpDropReason, number>
}

export function createCacheUdpStats(): CacheUdpStats {
  const dropped = Object.fromEntries(CACHE_UDP_DROP_REASONS.map((reason) => [reason, 0]))
  return {
    datagramsSent: 0,
    datagramsReceived: 0,
    stored: 0,
    removed: 0,
    dropped: dropped as Record<CacheUdpDropReason, number>,
  }
}
