// What a store takes at all: the limits of its cache, looked at before anything gives way.

import { asBuffer } from '../base/bytes.ts'
import { type CacheLimits, MAX_CONTEXT_BYTES, MAX_SERVER_NAME_BYTES } from './limits.ts'
import type { RefusalReason } from './stats.ts'

export interface NewSession {
  readonly id: Uint8Array
  readonly context: Uint8Array
  /** Empty when the client named none. */
  readonly serverName: string
  readonly session: Uint8Array
  /** Lifetime asked for; the cache's timeout caps it. */
  readonly ttlMs: number
}

/** The limits that say of one session alone whether it is taken. */
export type AdmissionLimits = Pick<CacheLimits, 'keysize' | 'blocksize' | 'contexts'>

export class Admission {
  readonly #limits: AdmissionLimits
  readonly #contexts: ReadonlySet<string> | undefined

  constructor(limits: AdmissionLimits) {
    this.#limits = limits
    this.#contexts = limits.contexts && new Set(limits.contexts.map(keyOf))
  }

  /** Why this session is not taken; undefined when it is. */
  refusalOf(entry: NewSession): RefusalReason | undefined {
    const { keysize, blocksize } = this.#limits
    const { id, context, session } = entry
    if (id.length === 0 || id.length > keysize) return 'keysize'
    if (session.length === 0 || session.length > blocksize) return 'blocksize'
    if (context.length > MAX_CONTEXT_BYTES) return 'context'
    if (this.#contexts !== undefined && !this.#contexts.has(keyOf(context))) return 'context'
    // Most have none: then no native code is called.
    const nameBytes = entry.serverName === '' ? 0 : Buffer.byteLength(entry.serverName)
    if (nameBytes > MAX_SERVER_NAME_BYTES) return 'context'
    // Written so that NaN is refused, too.
    if (!(entry.ttlMs > 0)) return 'expired'
    return undefined
  }
}

/** One character a byte. */
function keyOf(bytes: Uint8Array): string {
  return asBuffer(bytes).toString('latin1')
}
