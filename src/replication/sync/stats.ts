// The counters of copies and comparisons over TCP, and the error that ends a connection with a counted reason.

import { by, type CountsOf, counter, one } from '../../base/counters.ts'

const RUNS = counter(
  'sync_total',
  'Copies of a peer taken, and comparisons with one that this node began.',
)
const ENTRIES = counter('sync_entries_total', 'Entries sent and received over TCP.')

export const SYNC_COUNTERS = {
  /** Peers copied completely, all caches of one counted once. */
  snapshots: one(RUNS, { kind: 'snapshot' }),
  /** Comparisons that this node began and finished. */
  comparisons: one(RUNS, { kind: 'comparison' }),
  /** Swaps of rings of ticket keys that ended well, begun by this node or by a peer. */
  ringSwaps: one(
    counter(
      'ticket_swaps_total',
      'Swaps of ticket keys with a peer that ended well, begun by either.',
    ),
  ),
  entriesSent: one(ENTRIES, { direction: 'sent' }),
  /** Entries received, whether or not the store took them. */
  entriesReceived: one(ENTRIES, { direction: 'received' }),
  failures: by(
    'reason',
    {
      handshake: 'the TLS handshake failed, was ended by the other side, or took too long',
      flood: 'it was closed for a newer handshake, because too many were open',
      busy: 'too many connections were served',
      stalled: 'the other side fell silent or stopped reading',
      malformed:
        'it sent something that is no frame of the protocol, or no answer to what was asked',
      broken: 'the network or the other side ended it',
    },
    counter(
      'sync_failures_total',
      'Connections over TCP that ended before their work was done, by reason.',
    ),
  ),
}

export type SyncStats = CountsOf<typeof SYNC_COUNTERS>
/** Why a connection ended before its work was done. */
export type SyncFailure = keyof SyncStats['failures']

/** Ends a connection, on either side, with the reason that is counted. */
export class SyncError extends Error {
  override readonly name = 'SyncError'
  readonly failure: SyncFailure

  constructor(failure: SyncFailure, message: string) {
    super(message)
    this.failure = failure
  }
}

/** The reason to count for anything thrown while a connection was used; `broken` unless it is a SyncError. */
export function failureOf(thrown: unknown): SyncFailure {
  return thrown instanceof SyncError ? thrown.failure : 'broken'
}
