// What the hooks on one cache and the binding of one TLS server count. Plain numbers, exported elsewhere.

import { DurationHistogram } from '../base/histogram.ts'
import { PUT_RESULTS, type PutResult } from '../store/stats.ts'

export interface HookStats {
  /** How long gets took, whatever they found. */
  readonly getDurations: DurationHistogram
}

export function createHookStats(): HookStats {
  return { getDurations: new DurationHistogram() }
}

export interface SessionCacheStats {
  /** Handshakes in which the client named a session that only the cache can know. */
  offered: number
  /** Of these, how many the cache answered with a session. */
  found: number
  /** Handshakes that did resume: TLS took the session. */
  accepted: number
  /** Answers of the cache that did not come within the deadline; the handshake went on without. */
  late: number
  /** Calls of the cache that threw or rejected, and sessions from it that TLS could not have used. */
  failed: number
  stored: number
  /** Sessions the cache did not take, by reason. */
  readonly refused: Record<RefusedResult, number>
  /** TLS 1.3 sessions left out, since no handshake could ever ask for them. */
  skipped: number
}

export type RefusedResult = Exclude<PutResult, 'stored' | 'replaced'>

export function isRefused(result: PutResult): result is RefusedResult {
  return result !== 'stored' && result !== 'replaced'
}

export function createSessionCacheStats(): SessionCacheStats {
  const refused = Object.fromEntries(PUT_RESULTS.filter(isRefused).map((result) => [result, 0]))
  return {
    offered: 0,
    found: 0,
    accepted: 0,
    late: 0,
    failed: 0,
    stored: 0,
    refused: refused as Record<RefusedResult, number>,
    skipped: 0,
  }
}
