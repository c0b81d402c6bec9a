// What the hooks on one cache and the binding of one TLS server count. Plain numbers, exported elsewhere.

import { by, type CountsOf, durations, histogram, zeros } from '../base/counters.ts'
import { REFUSALS, type RefusalReason } from '../store/stats.ts'

/** Counters of the local hooks on one cache. */
export const HOOK_COUNTERS = {
  /** Durations of all gets, hits and misses alike. */
  getDurations: durations(
    histogram(
      'get_duration_seconds',
      "How long gets took; over memcached's protocol with all commands that came together.",
      'cache',
    ),
  ),
}

export type HookStats = CountsOf<typeof HOOK_COUNTERS>

/** Counters of a TLS server that is joined to a cache, since it was joined. */
export interface SessionCacheStats {
  /** Handshakes that were completed, full and resumed. */
  handshakes: number
  /** Handshakes in which the client offered a session, so that the cache was asked for it. */
  offered: number
  /** Offers that the cache answered with a session that TLS can use. */
  found: number
  /** Handshakes that resumed, because TLS accepted the session. */
  accepted: number
  /** Gets and puts that the cache did not answer within the deadline. A handshake goes on without the answer. */
  late: number
  /** Calls of the cache that threw, rejected or gave no valid result, and sessions from it that TLS cannot use. */
  failed: number
  /** Sessions that the cache stored. */
  stored: number
  /** Sessions that the cache refused, by reason. */
  readonly refused: Record<RefusalReason, number>
  /** Sessions not stored, since no handshake could find them: no ClientHello was read, which TLS 1.3 at least needs. */
  skipped: number
  /** Sessions found that were made by a release of Node.js with another form of contexts; each is a miss. */
  otherRelease: number
  /** The latest problem of the server's setup that keeps sessions from resuming; undefined when none was noticed. */
  problem: string | undefined
  /** One sentence that says how much resumes or, when nothing does, the first cause that explains it. */
  readonly diagnosis: string
}

const SESSION_CACHE_COUNTERS = { refused: by('reason', REFUSALS) }

export function createSessionCacheStats(): SessionCacheStats {
  const stats: SessionCacheStats = {
    handshakes: 0,
    offered: 0,
    found: 0,
    accepted: 0,
    late: 0,
    failed: 0,
    stored: 0,
    ...zeros(SESSION_CACHE_COUNTERS),
    skipped: 0,
    otherRelease: 0,
    problem: undefined,
    get diagnosis() {
      return diagnose(stats)
    },
  }
  return stats
}

/** Causes are tried in the order of a handshake: no step can succeed while one before it fails. */
function diagnose(stats: SessionCacheStats): string {
  const { handshakes, offered, found, accepted, stored, failed, late, skipped } = stats
  if (stats.problem !== undefined) return stats.problem
  if (accepted > 0) return `${accepted} of ${handshakes} handshakes resumed a session`
  if (handshakes === 0) return 'no handshake was completed yet'
  if (found > 0) {
    return `${found} sessions were found and TLS accepted none: the servers differ in TLS versions or ciphers`
  }
  if (stats.otherRelease > 0) {
    return (
      `${stats.otherRelease} sessions were found, all made by a release of Node.js that writes session contexts ` +
      'differently: run the same release on all servers'
    )
  }
  const refusals = Object.entries(stats.refused).filter(([, count]) => count > 0)
  if (stored === 0 && refusals.length > 0) {
    const reasons = refusals.map(([reason, count]) => `${reason} ${count}`).join(', ')
    return `the cache refused every session: ${reasons}`
  }
  if (failed + late > 0 && stored === 0) {
    return `the cache gave no answer: ${failed} calls failed, ${late} were late`
  }
  if (stored === 0 && skipped > 0) {
    return 'no session was stored: the ClientHello was not read, and without it TLS 1.3 sessions cannot be found again'
  }
  if (offered === 0) return 'no client offered a session so far'
  return (
    `clients offered ${offered} sessions and the cache held none of them: ` +
    'compare cache, context and lifetime on all servers'
  )
}
