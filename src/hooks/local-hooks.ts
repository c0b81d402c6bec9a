// The hooks on one cache of this process. They decide under which ID, context and server name a session may be stored,
// and under which it is returned.

import { idPrefix } from '../base/bytes.ts'
import { zeros } from '../base/counters.ts'
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
import type { SessionStore } from '../store/session-store.ts'
import type { GetResult, PutResult } from '../store/stats.ts'
import type { FoundSession, PutRequest, SessionHooks } from './hooks.ts'
import { HOOK_COUNTERS, type HookStats } from './stats.ts'

/** Longest lifetime of a session of TLS 1.2 or older: RFC 5246, F.1.4. */
const MAX_LIFETIME_MS = 86_400_000
/** Longest lifetime of a TLS 1.3 session: RFC 8446, section 4.6.1. */
const MAX_TLS_1_3_LIFETIME_MS = 604_800_000

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
 * memory, and throw only ERR_CONTEXT, when a context has more than 32 bytes.
 */
export class LocalHooks implements SessionHooks {
  readonly stats: HookStats = zeros(HOOK_COUNTERS)
  protected readonly store: SessionStore
  protected readonly clock: Clock
  readonly #mismatches: LogLimiter
  protected readonly isSingleUse: boolean
  readonly #isRenewing: boolean
  protected readonly followed: Followed

  constructor(store: SessionStore, options: LocalHooksOptions) {
    this.store = store
    this.clock = options.clock
    this.#mismatches = new LogLimiter(options)
    this.isSingleUse = options.singleUse ?? false
    this.#isRenewing = options.renew ?? false
    this.followed = options.followed ?? new Followed(options.clock)
  }

  get(context: Uint8Array, id: Uint8Array, serverName?: string): FoundSession | undefined {
    checkContext(context)
    const startMs = this.clock.monotonicMs()
    const found = this.#get(context, id, serverName, startMs)
    this.stats.getDurations.observe(this.clock.monotonicMs() - startMs)
    return found
  }

  put({ context, id, session, ttlMs, serverName }: PutRequest): PutResult {
    checkContext(context)
    const encoded = this.read(id, session)
    if (encoded === undefined) {
      return this.putOpaque(context, id, session, ttlMs, serverName)
    }
    if (!isContextOf(encoded.context, context, encoded.serverName)) {
      return this.store.refuse('context', { id, context, session })
    }
    return this.putEncoded(encoded, context, id, session, ttlMs, serverName)
  }

  remove(context: Uint8Array, id: Uint8Array): boolean {
    checkContext(context)
    return this.store.remove(id, context)
  }

  #get(
    context: Uint8Array,
    id: Uint8Array,
    serverName: string | undefined,
    nowMs: number,
  ): FoundSession | undefined {
    const found = this.store.get(id, context, serverName, nowMs)
    if (this.followed.isActive) this.noteGet(id, found)
    if (found === 'context_mismatch') this.#reportMismatch(id)
    if (typeof found === 'string') return undefined
    if (this.isSingleUse && isTls13(found.session)) this.store.remove(id, context)
    return this.#isRenewing ? { ...found, isRenewable: true } : found
  }

  /** Notes the result of a get of a session that somebody follows. */
  protected noteGet(id: Uint8Array, found: object | Exclude<GetResult, 'hit'>): void {
    const result = typeof found === 'string' ? found : 'hit'
    const cache = this.store.limits.name
    this.followed.note(id, { cache, what: 'get', result, by: 'local', origin: undefined })
  }

  /** Decodes the session; undefined when it is not an encoded one, or when the store will refuse it for its size. */
  protected read(id: Uint8Array, session: Uint8Array): EncodedSession | undefined {
    const { keysize, blocksize } = this.store.limits
    const isFitting = id.length <= keysize && session.length <= blocksize
    return isFitting ? tryReadEncodedSession(session) : undefined
  }

  /** Stores bytes that are no encoded session. */
  protected putOpaque(
    context: Uint8Array,
    id: Uint8Array,
    session: Uint8Array,
    ttlMs = this.store.limits.timeoutMs,
    serverName = '',
  ): PutResult {
    return this.store.put({ id, context, serverName, session, ttlMs })
  }

  /** `context` is the one that the operator set; the session's bytes may hold it hashed with the server name. */
  protected putEncoded(
    encoded: EncodedSession,
    context: Uint8Array,
    id: Uint8Array,
    session: Uint8Array,
    ttlMs = this.store.limits.timeoutMs,
    serverName = encoded.serverName,
  ): PutResult {
    const refused = { id, context, session }
    if (!isSameBytes(encoded.id, id)) return this.store.refuse('key_mismatch', refused)
    // A server that does not acknowledge the name leaves it out of the session; then only the caller knows it.
    if (encoded.serverName !== '' && encoded.serverName !== serverName) {
      return this.store.refuse('context', refused)
    }
    if (encoded.maxEarlyData !== 0) return this.store.refuse('early_data', refused)
    const lifetimeMs = Math.min(ttlMs, this.longestLifetimeMs(encoded))
    return this.store.put({ id, context, serverName, session, ttlMs: lifetimeMs })
  }

  /** Returns how long the session may live: the cap of its version of TLS, and what it has left. */
  protected longestLifetimeMs(encoded: EncodedSession): number {
    const isLongLived = encoded.protocolVersion === TLS_1_3
    const capMs = isLongLived ? MAX_TLS_1_3_LIFETIME_MS : MAX_LIFETIME_MS
    if (encoded.expiresAtSec === undefined) return capMs
    return Math.min(capMs, encoded.expiresAtSec * 1000 - this.clock.wallMs())
  }

  #reportMismatch(id: Uint8Array): void {
    this.#mismatches.warn(
      () => ({ cache: this.store.limits.name, id: idPrefix(id) }),
      'a session was asked for under another session ID context or server name',
    )
  }
}

export function isTls13(session: Buffer): boolean {
  return tryReadEncodedSession(session)?.protocolVersion === TLS_1_3
}
