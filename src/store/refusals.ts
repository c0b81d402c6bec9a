// Counts the sessions that a cache refuses, from callers and from peers, by reason, and logs at most one per second,
// with the size, the limit and the setting that the limit comes from.

import { idPrefix } from '../base/bytes.ts'
import { type Clock, type LogFields, type Logger, LogLimiter, silentLogger } from '../base/world.ts'
import type { Followed } from './followed.ts'
import { type CacheLimits, MAX_CONTEXT_BYTES } from './limits.ts'
import type { CacheStats, RefusalReason } from './stats.ts'
import type { Origin } from './versions.ts'

/** What is known of a refused session. Frontends refuse some before they have read them. */
export interface RefusedSession {
  readonly id?: Uint8Array
  readonly context?: Uint8Array
  readonly session?: Uint8Array
  /** Length of a session or another value that was refused without being read. */
  readonly sessionBytes?: number
}

export interface RefusalsOptions {
  readonly clock: Clock
  /** Silent by default. */
  readonly logger?: Logger
  readonly followed?: Followed
}

export class Refusals {
  readonly #limits: CacheLimits
  readonly #stats: CacheStats
  readonly #logger: Logger
  readonly #limiter: LogLimiter
  readonly #followed: Followed | undefined

  constructor(limits: CacheLimits, stats: CacheStats, options: RefusalsOptions) {
    this.#limits = limits
    this.#stats = stats
    this.#logger = options.logger ?? silentLogger
    this.#limiter = new LogLimiter({ clock: options.clock, logger: this.#logger })
    this.#followed = options.followed
  }

  /** Counts one refusal, logs it unless another was logged within the last second, and returns the reason. */
  count(origin: Origin, reason: RefusalReason, refused: RefusedSession): RefusalReason {
    const { puts, peerRefusals } = this.#stats
    const counts = origin === 'local' ? puts : peerRefusals
    counts[reason] += 1
    this.#log(origin, reason, refused)
    const { id } = refused
    if (this.#followed?.isActive && id !== undefined) {
      const cache = this.#limits.name
      const event = { cache, what: 'put', result: reason, by: origin, origin: undefined } as const
      this.#followed.note(id, event)
    }
    return reason
  }

  #log(origin: Origin, reason: RefusalReason, refused: RefusedSession): void {
    this.#limiter.pass((heldBack) => {
      const { id, context } = refused
      const { message, ...facts } = this.#explain(reason, refused)
      const fields: LogFields = {
        cache: this.#limits.name,
        from: origin === 'local' ? 'caller' : 'peer',
        reason,
        ...facts,
        ...(context !== undefined && { contextHex: Buffer.from(context).toString('hex') }),
        ...(id !== undefined && { id: idPrefix(id) }),
        heldBack,
      }
      this.#logger.warn(fields, `a session was refused: ${message}`)
    })
  }

  #explain(
    reason: RefusalReason,
    { id, context, session, sessionBytes: sizeBytes = session?.length }: RefusedSession,
  ): { readonly message: string; readonly [fact: string]: unknown } {
    const { keysize, blocksize, items, memoryBytes, contexts } = this.#limits
    switch (reason) {
      case 'keysize': {
        const message = `its ID has ${id?.length ?? 'other than'} bytes, caches[].keysize is 1..${keysize}`
        return { sizeBytes: id?.length, limitBytes: keysize, setting: 'keysize', message }
      }
      case 'blocksize': {
        const message = `it has ${sizeBytes ?? 'too many'} bytes, caches[].blocksize is 1..${blocksize}`
        return { sizeBytes, limitBytes: blocksize, setting: 'blocksize', message }
      }
      case 'full': {
        if (memoryBytes === undefined) {
          const message = `the cache is full, caches[].items is ${items}`
          return { sizeBytes, limitItems: items, setting: 'items', message }
        }
        const message = `the cache is full, caches[].items is ${items} and caches[].memory ${memoryBytes}`
        const limits = { limitItems: items, limitBytes: memoryBytes }
        return { sizeBytes, ...limits, setting: 'items, memory', message }
      }
      case 'context': {
        const isLong = context !== undefined && context.length > MAX_CONTEXT_BYTES
        if (isLong)
          return { message: `session ID contexts have at most ${MAX_CONTEXT_BYTES} bytes` }
        const message = 'it belongs to another session ID context or server name'
        if (contexts === undefined) return { message }
        return { setting: 'contexts', message: `${message}, or to none of caches[].contexts` }
      }
      case 'expired':
        return { message: 'it has no lifetime left' }
      case 'early_data':
        return { message: 'it allows early data, which a replicated cache cannot keep from replay' }
      case 'version':
        return { message: 'its ID was last changed with a version that no put can exceed' }
      case 'key_mismatch':
        return { message: 'its own ID is not the one that it was to be stored under' }
    }
  }
}
