// The counters of replication: plain numbers, which metrics read.

import { DurationHistogram } from '../base/histogram.ts'

/**
 * Reasons for which a node drops a datagram. `malformed`: it is no datagram or message of this protocol.
 * `unauthenticated`: no key of the ring opens it. `replay`: it arrived before. `stale`: it is older than the proof that
 * its sender is alive, answers no challenge that is still valid, is meant for another boot, or comes from a repeater
 * that this node does not use. `queue_full`: a bounded queue had no room, here or in the kernel, or the sender got
 * enough answers in this second. `too_large`: it does not fit what a datagram or a fragmented message may be.
 * `version`: it is a greeting of a node whose version of the protocol is below `replication.minimum_version`. `own`:
 * this boot sent it; it comes back where a listed address leads to this node itself, and when somebody recorded it.
 * `throttled`: it came neither from the proven address of its sender nor from a known sender at an address that this
 * node sends to, and was not decrypted, because too many datagrams of its host had failed to open.
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
  /** Datagrams handed to the network, counted once per destination. */
  datagramsSent: number
  /** Datagrams received, without those that this boot sent itself. */
  datagramsReceived: number
  /** Changes of this node that were sent, counted once however many destinations there are. */
  entriesSent: number
  /** Changes of other nodes that were decoded, whether or not the store took them. */
  entriesReceived: number
  readonly dropped: Record<DropReason, number>
  /** Datagrams that arrived again because a repeater passed them on, too. */
  duplicates: number
  /** Datagrams with changes that never arrived. */
  lost: number
  /** Datagrams with changes that arrived after they were asked for. */
  repaired: number
  /** Time from sealing to arrival, corrected by the difference of the clocks; whole milliseconds. */
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
