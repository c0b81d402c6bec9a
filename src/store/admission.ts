// Decides whether a cache accepts a session at all: checks its limits before anything is evicted.

import { asBuffer } from '../base/bytes.ts'
import { type CacheLimits, MAX_CONTEXT_BYTES, MAX_SERVER_NAME_BYTES } from './limits.ts'
import type { RefusalReason } from './stats.ts'

export interface NewSession {
  readonly id: Uint8Array
  readonly context: Uint8Array
  /** Server name (SNI); empty when the client named none. */
  readonly serverName: string
  readonly session: Uint8Array
  /** Lifetime asked for; the cache's timeout caps it. */
  readonly ttlMs: number
}

/** The limits that one session can be checked against without looking at the store. */
export type AdmissionLimits = Pick<CacheLimits, 'keysize' | 'blocksize' | 'contexts'>

export class Admission {
  readonly #limits: AdmissionLimits
  readonly #contexts: ReadonlySet<string> | undefined

  constructor(limits: AdmissionLimits) {
    this.#limits = limits
    this.#contexts = limits.contexts && new Set(limits.contexts.map(keyOf))
  }

  /** The reason for which this session is refused; undefined when it is accepted. */
  refusalOf(entry: NewSession): RefusalReason | undefined {
    const { keysize, blocksize } = this.#limits
    const { id, context, session } = entry
    if (id.length === 0 || id.length > keysize) return 'keysize'
    if (session.length === 0 || session.length > blocksize) return 'blocksize'
    if (context.length > MAX_CONTEXT_BYTES) return 'context'
    if (this.#contexts !== undefined && !this.#contexts.has(keyOf(context))) return 'context'
    // Most server names are empty: no native code is called for those.
    const nameBytes = entry.serverName === '' ? 0 : Buffer.byteLength(entry.serverName)
    if (nameBytes > MAX_SERVER_NAME_BYTES) return 'context'
    // This form of the comparison refuses NaN, too.
    if (!(entry.ttlMs > 0)) return 'expired'
    return undefined
  }
}

/** The bytes as text, one character per byte, for use as a key. */
function keyOf(bytes: Uint8Array): string {
  return asBuffer(bytes).toString('latin1')
}
