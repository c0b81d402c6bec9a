// What the hooks on a node in another process count. Plain numbers, exported elsewhere.

/**
 * Why a call had no answer. `late`: none came within the deadline. `unreachable`: there was no connection to the node.
 * `overloaded`: too many calls were in flight. `failed`: the node could not carry the call out.
 */
export const CALL_FAILURES = ['late', 'unreachable', 'overloaded', 'failed'] as const
/** One of the reasons why a call had no answer. */
export type CallFailure = (typeof CALL_FAILURES)[number]

/** Counters of the hooks on a node in another process, since these hooks were made. */
export interface RemoteStats {
  /** Gets by result; every result but `hit` is a miss to the caller. */
  readonly gets: Record<'hit' | 'miss' | CallFailure, number>
  /** Puts by result; the node has the reasons for `refused`. */
  readonly puts: Record<'stored' | 'refused' | CallFailure, number>
  /** Removes by result; `miss` means that the node held no such session. */
  readonly removes: Record<'removed' | 'miss' | CallFailure, number>
  /** Connections on which the node answered. */
  connects: number
  /** Connections on which the node answered, without the first one. */
  reconnects: number
  /** Connections that were lost or could not be made; those that `close` ends are not counted. */
  disconnects: number
  /** Answers that came after their deadline. */
  lateAnswers: number
}

export function createRemoteStats(): RemoteStats {
  const failures = () => ({ late: 0, unreachable: 0, overloaded: 0, failed: 0 })
  return {
    gets: { hit: 0, miss: 0, ...failures() },
    puts: { stored: 0, refused: 0, ...failures() },
    removes: { removed: 0, miss: 0, ...failures() },
    connects: 0,
    reconnects: 0,
    disconnects: 0,
    lateAnswers: 0,
  }
}
