// The counters of replication.

import {
  by,
  type CountsOf,
  counter,
  durations,
  histogram,
  one,
  valuesOf,
} from '../base/counters.ts'

const DATAGRAMS = counter(
  'replication_datagrams_total',
  'Datagrams sent, once per destination, and received.',
)
const ENTRIES = counter(
  'replication_entries_total',
  'Changes sent, once for all peers, and received.',
)

export const REPLICATION_COUNTERS = {
  /** Datagrams handed to the network, counted once per destination. */
  datagramsSent: one(DATAGRAMS, { direction: 'sent' }),
  /** Datagrams received, without those that this boot sent itself. */
  datagramsReceived: one(DATAGRAMS, { direction: 'received' }),
  /** Changes of this node that were sent, counted once however many destinations there are. */
  entriesSent: one(ENTRIES, { direction: 'sent' }),
  /** Changes of other nodes that were decoded, whether or not the store took them. */
  entriesReceived: one(ENTRIES, { direction: 'received' }),
  dropped: by(
    'reason',
    {
      malformed: 'it is no datagram or message of this protocol',
      unauthenticated: 'no key of the ring opens it',
      replay: 'it arrived before',
      stale:
        'it is older than the proof that its sender is alive, answers no challenge that is still valid, is meant for ' +
        'another boot, or comes from a repeater that this node does not use',
      queue_full:
        'a bounded queue had no room, here or in the kernel, or the sender got enough answers in this second',
      too_large: 'it does not fit what a datagram or a fragmented message may be',
      version:
        'it is a greeting of a node whose version of the protocol is below `replication.minimum_version`',
      own:
        'this boot sent it; it comes back where a listed address leads to this node itself, and when somebody ' +
        'recorded it',
      throttled:
        'it came neither from the proven address of its sender nor from a known sender at an address that this node ' +
        'sends to, and was not decrypted, because too many datagrams of its host had failed to open',
    },
    counter('replication_dropped_total', 'Datagrams that went no further, by reason.'),
  ),
  lost: one(counter('replication_lost_total', 'Datagrams of peers that never arrived.')),
  repaired: one(
    counter(
      'replication_repaired_total',
      'Datagrams of peers that arrived after they were asked for again.',
    ),
  ),
  duplicates: one(
    counter('replication_duplicates_total', 'Datagrams that came once more because of repeaters.'),
  ),
  /** Time from sealing to arrival; whole milliseconds. */
  lag: durations(
    histogram(
      'replication_lag_seconds',
      'From sealing on a peer to arrival here, the difference of the clocks taken out.',
    ),
  ),
}

export type ReplicationStats = CountsOf<typeof REPLICATION_COUNTERS>
export const DROP_REASONS = valuesOf(REPLICATION_COUNTERS.dropped)
/** Why a node drops a datagram. */
export type DropReason = keyof ReplicationStats['dropped']
