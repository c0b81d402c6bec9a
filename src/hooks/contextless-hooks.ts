// The hooks on one cache for protocols that know no session ID context: memcached, sessiond and those of uWSGI. They take
// the context from the session's own bytes.

import {
  type EncodedSession,
  isContextOf,
  tryReadEncodedSession,
} from '../session/encoded-session.ts'
import type { ContextlessReads } from '../store/contextless-reads.ts'
import type { CacheLimits } from '../store/limits.ts'
import type { Lookup, Lookups } from '../store/lookups.ts'
import type { RefusedSession } from '../store/refusals.ts'
import type { SessionStore } from '../store/session-store.ts'
import type { PeekedSession, SessionView } from '../store/session-view.ts'
import type { CacheStats, PutResult, RefusalReason } from '../store/stats.ts'
import type { Version } from '../store/versions.ts'
import { isTls13, LocalHooks, type LocalHooksOptions } from './local-hooks.ts'

const NO_CONTEXT = Buffer.alloc(0)

/** Hooks with calls that name no context. Do not use those where a context is known, because they do not compare it. */
export class ContextlessHooks extends LocalHooks {
  readonly #entries: ContextlessReads
  #isTogether = false
  /** Start of the current `together` on the monotonic clock, and the number of its gets. */
  #togetherMs = 0
  #togetherCount = 0

  constructor(store: SessionStore, options: LocalHooksOptions) {
    super(store, options)
    this.#entries = store.contextless
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
    const startMs = this.clock.monotonicMs()
    const found = this.#getAny(id, startMs)
    this.stats.getDurations.observe(this.clock.monotonicMs() - startMs)
    return found
  }

  /**
   * Runs `work`, whose gets are answered when it has ended, so that the duration of each is that of all. The clock is
   * read only before and after it (measured over TCP: two readings for each get cost 3 % of the gets a second).
   */
  together(work: (nowMs: number) => void): void {
    const startMs = this.clock.monotonicMs()
    this.#togetherMs = startMs
    this.#togetherCount = 0
    this.#isTogether = true
    try {
      work(startMs)
    } finally {
      this.#isTogether = false
      const tookMs = this.clock.monotonicMs() - startMs
      this.stats.getDurations.observe(tookMs, this.#togetherCount)
    }
  }

  /** Returns lookups for gets that are carried out within `together` and whose IDs are parts of `bytes`. */
  lookupsIn(bytes: Uint8Array): Lookups {
    return this.#entries.lookupsIn(bytes)
  }

  /** Looks up an ID that was added to `lookups`, whatever its context. It may only be called within `together`. */
  getFound(lookups: Lookups, lookup: Lookup): SessionView | undefined {
    this.#togetherCount += 1
    const found = this.#entries.getFound(lookups, lookup, this.#togetherMs)
    if (this.followed.isActive) this.noteGet(lookups.idOf(lookup), found)
    if (typeof found === 'string') return undefined
    return this.isSingleUse ? this.#consume(lookups.idOf(lookup), found) : found
  }

  /** Returns the session with this ID to a caller that will change it: nothing is counted, recency stays as it is. */
  peekAny(id: Uint8Array): PeekedSession | undefined {
    return this.#entries.peek(id)
  }

  /** Returns the version of what is stored under this ID, by which a change can be seen; undefined when nothing is. */
  versionOf(id: Uint8Array): Version | undefined {
    return this.#entries.versionOf(id)
  }

  /** Stores a session under the context in its own bytes; bytes that are no encoded session get the empty context. */
  putOwn(id: Uint8Array, session: Uint8Array, ttlMs?: number): PutResult {
    const encoded = this.read(id, session)
    return encoded === undefined
      ? this.putOpaque(NO_CONTEXT, id, session, ttlMs)
      : this.putEncoded(encoded, this.#operatorContextOf(encoded), id, session, ttlMs)
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
    ttlMs = this.store.limits.timeoutMs,
  ): PutResult {
    const context = this.store.limits.contexts === undefined ? NO_CONTEXT : encoded.context
    if (encoded.maxEarlyData !== 0) {
      return this.store.refuse('early_data', { id: key, context, session: value })
    }
    const lifetimeMs = Math.min(ttlMs, this.longestLifetimeMs(encoded))
    return this.store.put({ id: key, context, serverName: '', session: value, ttlMs: lifetimeMs })
  }

  /** Gives what is stored under this ID a new lifetime; undefined when nothing is stored. */
  touchAny(id: Uint8Array, ttlMs = this.store.limits.timeoutMs): PutResult | undefined {
    const old = this.#entries.peek(id)
    if (old === undefined) return undefined
    const encoded = tryReadEncodedSession(old.session)
    const longestMs = encoded === undefined ? ttlMs : this.longestLifetimeMs(encoded)
    const { context, serverName, session } = old
    return this.store.put({ id, context, serverName, session, ttlMs: Math.min(ttlMs, longestMs) })
  }

  /** Removes the session with this ID, whatever its context, here and on all peers; false when there is none. */
  removeAny(id: Uint8Array): boolean {
    return this.remove(this.#contextOf(id), id)
  }

  /** Counts and logs a put that a frontend refused before the store saw it. Returns the reason. */
  refuse(reason: RefusalReason, refused: RefusedSession): RefusalReason {
    return this.store.refuse(reason, refused)
  }

  /** Removes the least recently used session of a shard, whatever its context; false when none is held. */
  removeOldest(): boolean {
    const oldest = this.#entries.oldest()
    if (oldest === undefined) return false
    this.store.remove(oldest.id, oldest.context)
    return true
  }

  /** Counters of the cache; the caller must not change them. */
  get storeStats(): CacheStats {
    return this.store.stats
  }

  /** The limits of the cache. */
  get limits(): CacheLimits {
    return this.store.limits
  }

  #getAny(id: Uint8Array, nowMs: number): SessionView | undefined {
    const found = this.#entries.get(id, nowMs)
    if (this.followed.isActive) this.noteGet(id, found)
    if (typeof found === 'string') return undefined
    return this.isSingleUse ? this.#consume(id, found) : found
  }

  #consume(id: Uint8Array, view: SessionView): SessionView {
    const { session } = view
    if (!isTls13(session)) return view
    const whole = view.detached(session)
    this.removeAny(id)
    return whole
  }

  /** Returns the configured context that the session was made under; when there is none, the one in its bytes. */
  #operatorContextOf({ context, serverName }: EncodedSession): Uint8Array {
    const configured = this.store.limits.contexts
    return configured?.find((one) => isContextOf(context, one, serverName)) ?? context
  }

  #contextOf(id: Uint8Array): Uint8Array {
    return this.#entries.peek(id)?.context ?? NO_CONTEXT
  }
}
