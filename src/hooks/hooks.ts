// The three calls a TLS terminator makes, in process or to a node elsewhere.

import type { PutResult } from '../store/stats.ts'

/** What a get gives back; the bytes are the caller's own copy. */
export interface FoundSession {
  readonly session: Buffer
  /** Lifetime left in milliseconds, > 0. */
  readonly ttlMs: number
  /**
   * Whether sessions that a TLS 1.3 handshake makes out of this one may live longer than it: `renew` of the cache. false when
   * it is left out.
   */
  readonly isRenewable?: boolean
}

export type Awaitable<T> = T | Promise<T>

/**
 * Hooks on one named cache.
 *
 * `context` is the session ID context, 0..32 bytes (SSL_CTX_set_session_id_context(3)); a longer one is an
 * ERR_CONTEXT error. `serverName` is what the client sent as SNI: '' when it sent none, undefined when the
 * caller cannot know.
 */
export interface SessionHooks {
  /** The session made under this context and server name, or undefined: everything else is a miss. */
  get(context: Uint8Array, id: Uint8Array, serverName?: string): Awaitable<FoundSession | undefined>
  /** `ttlMs` asks for a lifetime; the cache and the session itself may shorten it. Refusals are results. */
  put(
    context: Uint8Array,
    id: Uint8Array,
    session: Uint8Array,
    ttlMs?: number,
    serverName?: string,
  ): Awaitable<PutResult>
  /** Whether there was such a session under this context. */
  remove(context: Uint8Array, id: Uint8Array): Awaitable<boolean>
}
