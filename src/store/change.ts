// What happens to a store, as it is told to whoever listens and as peers tell it to us.

/**
 * Orders all changes of one session ID on all nodes: the higher `clock` wins, then the higher `origin`.
 * `clock` is a hybrid logical clock reading (version-clock.ts), `origin` the number of the node that made
 * the change; both are safe integers.
 */
export interface Version {
  readonly clock: number
  readonly origin: number
}

/** `local`: a frontend or a hook asked for it. `peer`: another node told us; never sent on. */
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
  /** Remaining lifetime, > 0. */
  readonly ttlMs: number
  /** How long ago it was put, on the node that made it; absent where that was just now or is not known. */
  readonly ageMs?: number
  readonly version: Version
}

export interface RemoveChange {
  readonly kind: 'remove'
  readonly cache: string
  readonly id: Uint8Array
  /** How long the removal must be remembered, > 0. */
  readonly ttlMs: number
  readonly version: Version
}

/** Its byte arrays belong to whoever emitted it: copy what outlives the call. */
export type Change = PutChange | RemoveChange

export type ChangeListener = (change: Change, origin: Origin) => void

/** -1, 0 or 1, as for sorting: the positive side wins. */
export function compareVersions(a: Version, b: Version): number {
  return Math.sign(a.clock - b.clock) || Math.sign(a.origin - b.origin)
}
