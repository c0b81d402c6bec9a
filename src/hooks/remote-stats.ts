// What the hooks on a node in another process count. Plain numbers, exported elsewhere.

/**
 * Why a call had no answer: it was not there within the deadline; there was no node; too many calls waited
 * already; the node could not carry it out.
 */
export const CALL_FAILURES = ['late', 'unreachable', 'overloaded', 'failed'] as const
export type CallFailure = (typeof CALL_FAILURES)[number]

export interface RemoteStats {
  /** All but the first are misses to the caller. */
  readonly gets: Record<'hit' | 'miss' | CallFailure, number>
  readonly puts: Record<'stored' | 'refused' | CallFailure, number>
  readonly removes: Record<'removed' | 'miss' | CallFailure, number>
  /** Connections on which the node answered. */
  connects: number
  /** Of these, all but the first. */
  reconnects: number
  /** Connections that ended, whoever ended them, or could not be made. */
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
