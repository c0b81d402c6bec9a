// What one listener of uWSGI's cache-udp counts. Plain numbers, exported elsewhere.

import { MALFORMED_REASONS } from './cache-datagram.ts'

/**
 * Why a datagram went no further, beside being malformed. `unlisted`: from a host that is none of the
 * peers. `relative`: its expiry is a lifetime and no time, as uWSGI sends with purge_lru. `expired`: its
 * lifetime is over. `unchanged`: exactly this is stored. `unknown`: a delete of what is not stored. Then
 * the reasons of the cache for a refusal, and last those for which nothing was sent.
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
  /** Handed to the network, once per destination. */
  datagramsSent: number
  /** Taken from the network, own ones that a multicast group gave back left out. */
  datagramsReceived: number
  /** Of these, sets that were stored. */
  stored: number
  /** Of these, deletes that took a session out. */
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
