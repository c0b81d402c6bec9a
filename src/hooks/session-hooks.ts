// The hooks on one cache of this process: what a session may be stored under, and who may have it back.

import { idPrefix } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { type Logger, LogLimiter } from '../base/logger.ts'
import { checkContext, isContextOf, isSameBytes } from '../session/context.ts'
import { type EncodedSession, TLS_1_3, tryReadEncodedSession } from '../session/encoded-session.ts'
import type { Version } from '../store/change.ts'
import type { CacheLimits } from '../store/limits.ts'
import type { Lookup, Lookups } from '../store/lookups.ts'
import type { RefusedSession } from '../store/refusals.ts'
import type { PeekedSession } from '../store/session-copies.ts'
import type { SessionStore } from '../store/session-store.ts'
import type { SessionView } from '../store/session-view.ts'
import type { CacheStats, PutResult, RefusalReason } from '../store/stats.ts'
import type { FoundSession, SessionHooks } from './hooks.ts'
import { createHookStats, type HookStats } from './stats.ts'

/** RFC 5246 F.1.4 */
const MAX_LIFETIME_MS = 86_400_000
/** RFC 8446 4.6.1 */
const MAX_TLS_1_3_LIFETIME_MS = 604_800_000

const NO_CONTEXT = Buffer.alloc(0)

export interface LocalHooksOptions {
  readonly clock: Clock
  readonly logger: Logger
  /** Whether a get takes a TLS 1.3 session out, here at once and on peers as soon as they hear of it (RFC 8446, section 8.1). */
  readonly singleUse?: boolean
  /** Whether sessions made by resumed TLS 1.3 handshakes get a whole lifetime again. */
  readonly renew?: boolean
}

/**
 * Hooks on one cache of this process, as `node.hooks(name)` returns them. `get`, `put` and `remove` answer at once, from memory,
 * and throw nothing but ERR_CONTEXT, when a context has more than 32 bytes. The other calls are for frontends whose protocols
 * know no context; do not use them where a context is known, as they do not compare it.
 */
export class LocalHooks implements SessionHooks {
  readonly stats: HookStats = createHookStats()
  readonly #store: SessionStore
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #mismatches: LogLimiter
  readonly #isSingleUse: boolean
  readonly #isRenewing: boolean
  #isTogether = false
  /** When the gets that go on together began, and how many they are. */
  #togetherMs = 0
  #togetherCount = 0

  constructor(store: SessionStore, options: LocalHooksOptions) {
    this.#store = store
    this.#clock = options.clock
    this.#logger = options.logger
    this.#mismatches = new LogLimiter(options.clock)
    this.#isSingleUse = options.singleUse ?? false
    this.#isRenewing = options.renew ?? false
  }

  get(context: Uint8Array, id: Uint8Array, serverName?: string): FoundSession | undefined {
    checkContext(context)
    const startMs = this.#clock.monotonicMs()
    const found = this.#get(context, id, serverName, startMs)
    this.stats.getDurations.observe(this.#clock.monotonicMs() - startMs)
    return found
  }

  put(
    context: Uint8Array,
    id: Uint8Array,
    session: Uint8Array,
    ttlMs?: number,
    serverName?: string,
  ): PutResult {
    checkContext(context)
    const encoded = this.#read(id, session)
    if (encoded === undefined) {
      return this.#putOpaque(context, id, session, ttlMs, serverName)
    }
    if (!isContextOf(encoded.context, context, encoded.serverName)) {
      return this.#store.refuse('context', { id, context, session })
    }
    return this.#putEncoded(encoded, context, id, session, ttlMs, serverName)
  }

  remove(context: Uint8Array, id: Uint8Array): boolean {
    checkContext(context)
    return this.#store.remove(id, context)
  }

  /**
   * For protocols that know no session ID context: the session, whatever it was made under. Not copied, it
   * holds until the store changes or is asked again.
   */
  getAny(id: Uint8Array): SessionView | undefined {
    if (this.#isTogether) {
      this.#togetherCount += 1
      return this.#getAny(id, this.#togetherMs)
    }
    const startMs = this.#clock.monotonicMs()
    const found = this.#getAny(id, startMs)
    this.stats.getDurations.observe(this.#clock.monotonicMs() - startMs)
    return found
  }

  /**
   * Runs `work`, whose getAny calls are answered when it has ended: each takes as long as all of it. The clock is read for
   * all of them at once (measured over TCP: with two readings for each get, three in a hundred fewer a second).
   */
  together(work: (nowMs: number) => void): void {
    const startMs = this.#clock.monotonicMs()
    this.#togetherMs = startMs
    this.#togetherCount = 0
    this.#isTogether = true
    try {
      work(startMs)
    } finally {
      this.#isTogether = false
      const tookMs = this.#clock.monotonicMs() - startMs
      this.stats.getDurations.observe(tookMs, this.#togetherCount)
    }
  }

  /** For gets that are carried out within `together`, whose IDs lie in these bytes. */
  lookupsIn(bytes: Uint8Array): Lookups {
    return this.#store.lookupsIn(bytes)
  }

  /** Looks up an ID that was announced to `lookups`, whatever context it has. Only within `together`. */
  getFound(lookups: Lookups, lookup: Lookup): SessionView | undefined {
    this.#togetherCount += 1
    const found = this.#store.getFound(lookups, lookup, this.#togetherMs)
    if (typeof found === 'string') return undefined
    return this.#isSingleUse ? this.#consume(lookups.idOf(lookup), found) : found
  }

  /** The session with this ID for a caller that is going to change it: not counted, not consumed, recency as it was. */
  peekAny(id: Uint8Array): PeekedSession | undefined {
    return this.#store.peek(id)
  }

  /** Version of what is stored under this ID; it tells whether that changed. */
  versionOf(id: Uint8Array): Version | undefined {
    return this.#store.versionOf(id)
  }

  /** Takes the context from the session itself; bytes that are no encoded session get the empty one. */
  putOwn(id: Uint8Array, session: Uint8Array, ttlMs?: number): PutResult {
    const encoded = this.#read(id, session)
    return encoded === undefined
      ? this.#putOpaque(NO_CONTEXT, id, session, ttlMs)
      : this.#putEncoded(encoded, this.#operatorContextOf(encoded), id, session, ttlMs)
  }

  /**
   * Stores a value that is or contains this session under a key of the caller's own, where nobody finds it by the session's ID. A
   * cache with `contexts` takes it under the session's own context, if that is listed, and any other cache under the empty one.
   */
  putValue(
    key: Uint8Array,
    value: Uint8Array,
    encoded: EncodedSession,
    ttlMs = this.#store.limits.timeoutMs,
  ): PutResult {
    const context = this.#store.limits.contexts === undefined ? NO_CONTEXT : encoded.context
    if (encoded.maxEarlyData !== 0) {
      return this.#store.refuse('early_data', { id: key, context, session: value })
    }
    const lifetimeMs = Math.min(ttlMs, this.#longestLifetimeMs(encoded))
    return this.#store.put({ id: key, context, serverName: '', session: value, ttlMs: lifetimeMs })
  }

  /** Gives what is stored a new lifetime; undefined when there is nothing. */
  touchAny(id: Uint8Array, ttlMs = this.#store.limits.timeoutMs): PutResult | undefined {
    const old = this.#store.peek(id)
    if (old === undefined) return undefined
    const encoded = tryReadEncodedSession(old.session)
    const longestMs = encoded === undefined ? ttlMs : this.#longestLifetimeMs(encoded)
    const { context, serverName, session } = old
    return this.#store.put({ id, context, serverName, session, ttlMs: Math.min(ttlMs, longestMs) })
  }

  /** Takes out the session with this ID, whatever its context, here and on all peers; false when there is none. */
  removeAny(id: Uint8Array): boolean {
    return this.remove(this.#contextOf(id), id)
  }

  /** Counts and logs a put that a frontend refused by itself. */
  refuse(reason: RefusalReason, refused: RefusedSession): RefusalReason {
    return this.#store.refuse(reason, refused)
  }

  /** Removes a session used least recently, whatever its context; false when none is held. */
  removeOldest(): boolean {
    return this.#store.removeOldest()
  }

  /** What the cache counts; read it, do not change it. */
  get storeStats(): CacheStats {
    return this.#store.stats
  }

  /** The limits of the cache. */
  get limits(): CacheLimits {
    return this.#store.limits
  }

  #get(
    context: Uint8Array,
    id: Uint8Array,
    serverName: string | undefined,
    nowMs: number,
  ): FoundSession | undefined {
    const found = this.#store.get(id, context, serverName, nowMs)
    if (found === 'context_mismatch') this.#reportMismatch(id)
    if (typeof found === 'string') return undefined
    if (this.#isSingleUse && isTls13(found.session)) this.#store.remove(id, context)
    return this.#isRenewing ? { ...found, isRenewable: true } : found
  }

  #getAny(id: Uint8Array, nowMs: number): SessionView | undefined {
    const found = this.#store.getAny(id, nowMs)
    if (typeof found === 'string') return undefined
    return this.#isSingleUse ? this.#consume(id, found) : found
  }

  #consume(id: Uint8Array, view: SessionView): SessionView {
    const { session } = view
    if (!isTls13(session)) return view
    const whole = view.detached(session)
    this.removeAny(id)
    return whole
  }

  /** What the session says about itself; undefined when the store is going to refuse it for its size. */
  #read(id: Uint8Array, session: Uint8Array): EncodedSession | undefined {
    const { keysize, blocksize } = this.#store.limits
    const isFitting = id.length <= keysize && session.length <= blocksize
    return isFitting ? tryReadEncodedSession(session) : undefined
  }

  #putOpaque(
    context: Uint8Array,
    id: Uint8Array,
    session: Uint8Array,
    ttlMs = this.#store.limits.timeoutMs,
    serverName = '',
  ): PutResult {
    return this.#store.put({ id, context, serverName, session, ttlMs })
  }

  /** `context` is the operator's, whichever way the session's own bytes have it. */
  #putEncoded(
    encoded: EncodedSession,
    context: Uint8Array,
    id: Uint8Array,
    session: Uint8Array,
    ttlMs = this.#store.limits.timeoutMs,
    serverName = encoded.serverName,
  ): PutResult {
    const refused = { id, context, session }
    if (!isSameBytes(encoded.id, id)) return this.#store.refuse('key_mismatch', refused)
    // A server that does not acknowledge the name leaves it out of the session: the caller knows it still.
    if (encoded.serverName !== '' && encoded.serverName !== serverName) {
      return this.#store.refuse('context', refused)
    }
    if (encoded.maxEarlyData !== 0) return this.#store.refuse('early_data', refused)
    const lifetimeMs = Math.min(ttlMs, this.#longestLifetimeMs(encoded))
    return this.#store.put({ id, context, serverName, session, ttlMs: lifetimeMs })
  }

  /** The configured context that the session was made under; without such a list, the one in its bytes. */
  #operatorContextOf({ context, serverName }: EncodedSession): Uint8Array {
    const configured = this.#store.limits.contexts
    return configured?.find((one) => isContextOf(context, one, serverName)) ?? context
  }

  #longestLifetimeMs(encoded: EncodedSession): number {
    const isLongLived = encoded.protocolVersion === TLS_1_3
    const capMs = isLongLived ? MAX_TLS_1_3_LIFETIME_MS : MAX_LIFETIME_MS
    if (encoded.expiresAtSec === undefined) return capMs
    return Math.min(capMs, encoded.expiresAtSec * 1000 - this.#clock.wallMs())
  }

  #contextOf(id: Uint8Array): Uint8Array {
    return this.#store.peek(id)?.context ?? NO_CONTEXT
  }

  #reportMismatch(id: Uint8Array): void {
    this.#mismatches.pass((heldBack) => {
      this.#logger.warn(
        { cache: this.#store.limits.name, id: idPrefix(id), heldBack },
        'a session was asked for under another session ID context or server name',
      )
    })
  }
}

function isTls13(session: Buffer): boolean {
  return tryReadEncodedSession(session)?.protocolVersion === TLS_1_3
}
