// What replication counts. Plain numbers, exported elsewhere.

import { DurationHistogram } from '../base/histogram.ts'

/**
 * Why a datagram went no further. `malformed`: no datagram or message of this protocol.
 * `unauthenticated`: no key of the ring opens it. `replay`: arrived before. `stale`: older than the
 * proof that its sender is alive. `queue_full`: a bounded queue had no room, here or in the kernel.
 * `too_large`: does not fit what a datagram or a fragmented message may be. `version`: a greeting of a node whose
 * version of the protocol is below `replication.minimum_version`. `own`: this boot sent it; it comes back where a
 * listed address leads to this node itself, and when somebody recorded it. `throttled`: of an unknown sender, after too
 * much came from its host that no key opens; it was not tried.
 */
export const DROP_REASONS = [
  'malformed',
  'unauthenticated',
  'replay',
  'stale',
  'queue_full',
  'too_large',
  'version',
  'own',
  'throttled',
] as const
export type DropReason = (typeof DROP_REASONS)[number]

export interface ReplicationStats {
  /** Handed to the network, once per destination. */
  datagramsSent: number
  /** Taken from the network, own ones that a multicast group gave back left out. */
  datagramsReceived: number
  /** Changes of this node sent, counted once however many destinations there are. */
  entriesSent: number
  /** Changes of other nodes that arrived intact, whatever the store made of them. */
  entriesReceived: number
  readonly dropped: Record<DropReason, number>
  /** Came once more because of repeaters, each of which passes everything on. */
  duplicates: number
  /** Datagrams with changes that never arrived. */
  lost: number
  /** Datagrams with changes that arrived because they were asked for again. */
  repaired: number
  /** From sealing to arrival, the difference of the clocks taken out; whole milliseconds. */
  readonly lag: DurationHistogram
}

export function createReplicationStats(): ReplicationStats {
  return {
    datagramsSent: 0,
    datagramsReceived: 0,
    entriesSent: 0,
    entriesReceived: 0,
    dropped: {
      malformed: 0,
      unauthenticated: 0,
      replay: 0,
      stale: 0,
      queue_full: 0,
      too_large: 0,
      version: 0,
      own: 0,
      throttled: 0,
    },
    duplicates: 0,
    lost: 0,
    repaired: 0,
    lag: new DurationHistogram(),
  }
}
