// The counters of copies and comparisons over TCP: plain numbers, which metrics read.

/**
 * Reasons for which a connection ended before its work was done. `handshake`: the TLS handshake failed, was ended by
 * the other side, or took too long. `flood`: it was closed for a newer handshake, because too many were open. `busy`:
 * too many connections were served. `stalled`: the other side fell silent or stopped reading. `malformed`: it sent
 * something that is no frame of the protocol, or no answer to what was asked. `broken`: the network or the other side
 * ended it.
 */
export const SYNC_FAILURES = [
  'handshake',
  'flood',
  'busy',
  'stalled',
  'malformed',
  'broken',
] as const
export type SyncFailure = (typeof SYNC_FAILURES)[number]

export interface SyncStats {
  /** Peers copied completely, all caches of one counted once. */
  snapshots: number
  /** Comparisons that this node began and finished. */
  comparisons: number
  /** Swaps of rings of ticket keys that ended well, begun by this node or by a peer. */
  ringSwaps: number
  /** Entries sent over TCP. */
  entriesSent: number
  /** Entries received over TCP, whether or not the store took them. */
  entriesReceived: number
  readonly failures: Record<SyncFailure, number>
}

export function createSyncStats(): SyncStats {
  return {
    snapshots: 0,
    comparisons: 0,
    ringSwaps: 0,
    entriesSent: 0,
    entriesReceived: 0,
    failures: { handshake: 0, flood: 0, busy: 0, stalled: 0, malformed: 0, broken: 0 },
  }
}

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
