// The hooks on one cache of this process. They decide under which ID, context and server name a session may be stored,
// and under which it is returned.

import { idPrefix } from '../base/bytes.ts'
import { type Clock, type Logger, LogLimiter } from '../base/world.ts'
import {
  checkContext,
  type EncodedSession,
  isContextOf,
  isSameBytes,
  TLS_1_3,
  tryReadEncodedSession,
} from '../session/encoded-session.ts'
import { Followed } from '../store/followed.ts'
import type { CacheLimits } from '../store/limits.ts'
import type { Lookup, Lookups } from '../store/lookups.ts'
import type { RefusedSession } from '../store/refusals.ts'
import type { SessionStore } from '../store/session-store.ts'
import type { PeekedSession, SessionView } from '../store/session-view.ts'
import type { CacheStats, GetResult, PutResult, RefusalReason } from '../store/stats.ts'
import type { Version } from '../store/versions.ts'
import type { FoundSession, PutRequest, SessionHooks } from './hooks.ts'
import { createHookStats, type HookStats } from './stats.ts'

/** Longest lifetime of a session of TLS 1.2 or older: RFC 5246, F.1.4. */
const MAX_LIFETIME_MS = 86_400_000
/** Longest lifetime of a TLS 1.3 session: RFC 8446, section 4.6.1. */
const MAX_TLS_1_3_LIFETIME_MS = 604_800_000

const NO_CONTEXT = Buffer.alloc(0)

export interface LocalHooksOptions {
  readonly clock: Clock
  readonly logger: Logger
  /**
   * Whether a get removes the TLS 1.3 session that it finds: here at once, on peers as soon as the removal reaches them
   * (RFC 8446, section 8.1).
   */
  readonly singleUse?: boolean
  /** Whether sessions made by resumed TLS 1.3 handshakes get a full lifetime again. */
  readonly renew?: boolean
  /** Notes the gets of sessions that somebody follows; by default nobody can. */
  readonly followed?: Followed
}

/**
 * Hooks on one cache of this process, which `node.hooks(name)` returns. `get`, `put` and `remove` answer at once, from
 * memory, and throw only ERR_CONTEXT, when a context has more than 32 bytes. The other calls are for frontends whose
 * protocols know no context; do not use them where a context is known, because they do not compare it.
 */
export class LocalHooks implements SessionHooks {
  readonly stats: HookStats = createHookStats()
  readonly #store: SessionStore
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #mismatches: LogLimiter
  readonly #isSingleUse: boolean
  readonly #isRenewing: boolean
  readonly #followed: Followed
  #isTogether = false
  /** Start of the current `together` on the monotonic clock, and the number of its gets. */
  #togetherMs = 0
  #togetherCount = 0

  constructor(store: SessionStore, options: LocalHooksOptions) {
    this.#store = store
    this.#clock = options.clock
    this.#logger = options.logger
    this.#mismatches = new LogLimiter(options.clock)
    this.#isSingleUse = options.singleUse ?? false
    this.#isRenewing = options.renew ?? false
    this.#followed = options.followed ?? new Followed(options.clock)
  }

  get(context: Uint8Array, id: Uint8Array, serverName?: string): FoundSession | undefined {
    checkContext(context)
    const startMs = this.#clock.monotonicMs()
    const found = this.#get(context, id, serverName, startMs)
    this.stats.getDurations.observe(this.#clock.monotonicMs() - startMs)
    return found
  }

  put({ context, id, session, ttlMs, serverName }: PutRequest): PutResult {
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
   * Looks a session up whatever its context, for protocols that know none. The result is a shared view, valid until the
   * store changes or is asked again.
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
   * Runs `work`, whose gets are answered when it has ended, so that the duration of each is that of all. The clock is
   * read only before and after it (measured over TCP: two readings for each get cost 3 % of the gets a second).
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

  /** Returns lookups for gets that are carried out within `together` and whose IDs are parts of `bytes`. */
  lookupsIn(bytes: Uint8Array): Lookups {
    return this.#store.lookupsIn(bytes)
  }

  /** Looks up an ID that was added to `lookups`, whatever its context. It may only be called within `together`. */
  getFound(lookups: Lookups, lookup: Lookup): SessionView | undefined {
    this.#togetherCount += 1
    const found = this.#store.getFound(lookups, lookup, this.#togetherMs)
    if (this.#followed.isActive) this.#noteGet(lookups.idOf(lookup), found)
    if (typeof found === 'string') return undefined
    return this.#isSingleUse ? this.#consume(lookups.idOf(lookup), found) : found
  }

  /** Returns the session with this ID to a caller that will change it: nothing is counted, recency stays as it is. */
  peekAny(id: Uint8Array): PeekedSession | undefined {
    return this.#store.peek(id)
  }

  /** Returns the version of what is stored under this ID, by which a change can be seen; undefined when nothing is. */
  versionOf(id: Uint8Array): Version | undefined {
    return this.#store.versionOf(id)
  }

  /** Stores a session under the context in its own bytes; bytes that are no encoded session get the empty context. */
  putOwn(id: Uint8Array, session: Uint8Array, ttlMs?: number): PutResult {
    const encoded = this.#read(id, session)
    return encoded === undefined
      ? this.#putOpaque(NO_CONTEXT, id, session, ttlMs)
      : this.#putEncoded(encoded, this.#operatorContextOf(encoded), id, session, ttlMs)
  }

  /**
   * Stores a value that is or contains this session under a key of the caller's own, so that it cannot be found by the
   * session's ID. A cache with `contexts` stores it under the session's own context and refuses it when that is not
   * listed; any other cache stores it under the empty context.
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

  /** Gives what is stored under this ID a new lifetime; undefined when nothing is stored. */
  touchAny(id: Uint8Array, ttlMs = this.#store.limits.timeoutMs): PutResult | undefined {
    const old = this.#store.peek(id)
    if (old === undefined) return undefined
    const encoded = tryReadEncodedSession(old.session)
    const longestMs = encoded === undefined ? ttlMs : this.#longestLifetimeMs(encoded)
    const { context, serverName, session } = old
    return this.#store.put({ id, context, serverName, session, ttlMs: Math.min(ttlMs, longestMs) })
  }

  /** Removes the session with this ID, whatever its context, here and on all peers; false when there is none. */
  removeAny(id: Uint8Array): boolean {
    return this.remove(this.#contextOf(id), id)
  }

  /** Counts and logs a put that a frontend refused before the store saw it. Returns the reason. */
  refuse(reason: RefusalReason, refused: RefusedSession): RefusalReason {
    return this.#store.refuse(reason, refused)
  }

  /** Removes the least recently used session of a shard, whatever its context; false when none is held. */
  removeOldest(): boolean {
    return this.#store.removeOldest()
  }

  /** Counters of the cache; the caller must not change them. */
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
    if (this.#followed.isActive) this.#noteGet(id, found)
    if (found === 'context_mismatch') this.#reportMismatch(id)
    if (typeof found === 'string') return undefined
    if (this.#isSingleUse && isTls13(found.session)) this.#store.remove(id, context)
    return this.#isRenewing ? { ...found, isRenewable: true } : found
  }

  #getAny(id: Uint8Array, nowMs: number): SessionView | undefined {
    const found = this.#store.getAny(id, nowMs)
    if (this.#followed.isActive) this.#noteGet(id, found)
    if (typeof found === 'string') return undefined
    return this.#isSingleUse ? this.#consume(id, found) : found
  }

  #noteGet(id: Uint8Array, found: object | Exclude<GetResult, 'hit'>): void {
    const result = typeof found === 'string' ? found : 'hit'
    const cache = this.#store.limits.name
    this.#followed.note(id, { cache, what: 'get', result, by: 'local', origin: undefined })
  }

  #consume(id: Uint8Array, view: SessionView): SessionView {
    const { session } = view
    if (!isTls13(session)) return view
    const whole = view.detached(session)
    this.removeAny(id)
    return whole
  }

  /** Decodes the session; undefined when it is not an encoded one, or when the store will refuse it for its size. */
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

  /** `context` is the one that the operator set; the session's bytes may hold it hashed with the server name. */
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
    // A server that does not acknowledge the name leaves it out of the session; then only the caller knows it.
    if (encoded.serverName !== '' && encoded.serverName !== serverName) {
      return this.#store.refuse('context', refused)
    }
    if (encoded.maxEarlyData !== 0) return this.#store.refuse('early_data', refused)
    const lifetimeMs = Math.min(ttlMs, this.#longestLifetimeMs(encoded))
    return this.#store.put({ id, context, serverName, session, ttlMs: lifetimeMs })
  }

  /** Returns the configured context that the session was made under; when there is none, the one in its bytes. */
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
