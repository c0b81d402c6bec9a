// The counters of one listener of uWSGI's cache-udp.

import { by, type CountsOf, counter, one } from '../base/counters.ts'
import { REFUSALS } from '../store/stats.ts'
import { MALFORMED_REASONS } from './datagram.ts'

const DATAGRAMS = counter(
  'uwsgi_datagrams_total',
  'Datagrams of cache-udp sent, once per destination, and received.',
  'cache',
)
const APPLIED = counter(
  'uwsgi_applied_total',
  'Datagrams of cache-udp that changed the cache.',
  'cache',
)

const { expired: EXPIRED, ...OTHER_REFUSALS } = REFUSALS

export const CACHE_UDP_COUNTERS = {
  /** Datagrams handed to the network, counted once per destination. */
  datagramsSent: one(DATAGRAMS, { direction: 'sent' }),
  /** Datagrams received, without our own that a multicast group delivered to us. */
  datagramsReceived: one(DATAGRAMS, { direction: 'received' }),
  /** Received sets that were stored. */
  stored: one(APPLIED, { kind: 'set' }),
  /** Received deletes that removed a session. */
  removed: one(APPLIED, { kind: 'delete' }),
  dropped: by(
    'reason',
    {
      ...MALFORMED_REASONS,
      unlisted: 'the sender is not one of the peers',
      relative: 'the expiry is a lifetime and not a time, which uWSGI sends with `purge_lru`',
      expired: EXPIRED,
      unchanged: 'the same session is stored already',
      unknown: 'a delete of a session that is not stored',
      // Why the cache refused the session.
      ...OTHER_REFUSALS,
      queue_full: 'a change was not sent, because too many wait',
      too_large: 'a change was not sent, because it does not fit a datagram',
    },
    counter(
      'uwsgi_dropped_total',
      'Datagrams of cache-udp that went no further, by reason.',
      'cache',
    ),
  ),
}

export type CacheUdpStats = CountsOf<typeof CACHE_UDP_COUNTERS>
export type CacheUdpDropReason = keyof CacheUdpStats['dropped']
