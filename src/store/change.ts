// Changes of a store: what it reports to its listener, and what peers send.

/**
 * Orders all changes of one session ID on all nodes: the higher `clock` wins, then the higher `origin`.
 * `clock` is a hybrid logical clock reading (version-clock.ts), `origin` the number of the node that made
 * the change; both are safe integers.
 */
export interface Version {
  readonly clock: number
  readonly origin: number
}

/** Cause of a change. `local`: a frontend or a hook. `peer`: another node sent it; such changes are never sent on. */
export type Origin = 'local' | 'peer'

export interface PutChange {
  readonly kind: 'put'
  readonly cache: string
  readonly id: Uint8Array
  /** Session ID context, 0..32 bytes. */
  readonly context: Uint8Array
  /** Server name (SNI) the session was made under; empty when there was none. */
  readonly serverName: string
  /** Encoded session; secret. */
  readonly session: Uint8Array
  /** Remaining lifetime in milliseconds, > 0. */
  readonly ttlMs: number
  /** Milliseconds since the put on the node that made it; absent when that was just now or is not known. */
  readonly ageMs?: number
  readonly version: Version
}

export interface RemoveChange {
  readonly kind: 'remove'
  readonly cache: string
  readonly id: Uint8Array
  /** How many milliseconds the removal must be remembered, > 0. */
  readonly ttlMs: number
  readonly version: Version
}

/** A put or a removal. Its byte arrays belong to the emitter: a listener copies what it keeps after the call. */
export type Change = PutChange | RemoveChange

export type ChangeListener = (change: Change, origin: Origin) => void

/** Compares versions as for sorting: 1 when `a` is newer and wins, -1 when `b` is, 0 when they are equal. */
export function compareVersions(a: Version, b: Version): number {
  return Math.sign(a.clock - b.clock) || Math.sign(a.origin - b.origin)
}
