// What copying and comparing stores over TCP counts. Plain numbers, exported elsewhere.

/**
 * Why a connection ended before its work was done. `handshake`: not of this cluster, cut off or too slow.
 * `flood`: too many handshakes at once. `busy`: too many connections at once. `stalled`: fell silent or
 * stopped reading. `malformed`: sent what is no frame of the protocol. `broken`: the network or the peer
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
  /** Stores of peers copied at the start. */
  snapshots: number
  /** Comparisons that this node began and finished. */
  comparisons: number
  /** Entries sent over TCP and received, whatever the store made of them. */
  entriesSent: number
  entriesReceived: number
  readonly failures: Record<SyncFailure, number>
}

export function createSyncStats(): SyncStats {
  return {
    snapshots: 0,
    comparisons: 0,
    entriesSent: 0,
    entriesReceived: 0,
    failures: { handshake: 0, flood: 0, busy: 0, stalled: 0, malformed: 0, broken: 0 },
  }
}

/** What ends a connection, on either side. */
export class SyncError extends Error {
  override readonly name = 'SyncError'
  readonly failure: SyncFailure

  constructor(failure: SyncFailure, message: string) {
    super(message)
    this.failure = failure
  }
}

/** The failure behind anything thrown while a connection was used. */
export function failureOf(thrown: unknown): SyncFailure {
  return thrown instanceof SyncError ? thrown.failure : 'broken'
}
