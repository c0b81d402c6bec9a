// What the hooks on one cache and the binding of one TLS server count. Plain numbers, exported elsewhere.

import { DurationHistogram } from '../base/histogram.ts'
import { PUT_RESULTS, type PutResult } from '../store/stats.ts'

/** Counters of the local hooks on one cache. */
export interface HookStats {
  /** How long gets took, whatever they found. */
  readonly getDurations: DurationHistogram
}

export function createHookStats(): HookStats {
  return { getDurations: new DurationHistogram() }
}

/** Counters of a TLS server that is joined to a cache, since it was joined. */
export interface SessionCacheStats {
  /** Handshakes that were completed, full and resumed. */
  handshakes: number
  /** Handshakes in which the client named a session that only the cache can know. */
  offered: number
  /** Offers that the cache answered with a session that TLS can use. */
  found: number
  /** Handshakes that did resume: TLS took the session. */
  accepted: number
  /** Answers of the cache that did not come within the deadline; the handshake went on without. */
  late: number
  /** Calls of the cache that threw or rejected, and sessions from it that TLS could not have used. */
  failed: number
  /** Sessions that the cache took. */
  stored: number
  /** Sessions that the cache refused, by reason. */
  readonly refused: Record<RefusedResult, number>
  /** Sessions left out, since no handshake could ever ask for them: TLS 1.3, or no ClientHello was read. */
  skipped: number
  /** Sessions found that a release of Node.js with another form of contexts made; each is a miss. */
  otherRelease: number
  /** What was noticed last about the server that keeps sessions from resuming; undefined when nothing was. */
  problem: string | undefined
  /** One sentence that says how much resumes or, when nothing does, the first cause that explains it. */
  readonly diagnosis: string
}

export type RefusedResult = Exclude<PutResult, 'stored' | 'replaced'>

export function isRefused(result: PutResult): result is RefusedResult {
  return result !== 'stored' && result !== 'replaced'
}

export function createSessionCacheStats(): SessionCacheStats {
  const refused = Object.fromEntries(PUT_RESULTS.filter(isRefused).map((result) => [result, 0]))
  const stats: SessionCacheStats = {
    handshakes: 0,
    offered: 0,
    found: 0,
    accepted: 0,
    late: 0,
    failed: 0,
    stored: 0,
    refused: refused as Record<RefusedResult, number>,
    skipped: 0,
    otherRelease: 0,
    problem: undefined,
    get diagnosis() {
      return diagnose(stats)
    },
  }
  return stats
}

/** The first cause that explains why nothing resumes; what comes later in a handshake cannot go right before it. */
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
