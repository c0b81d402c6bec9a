// The three calls a TLS terminator makes, in process or to a node elsewhere.

import type { PutResult } from '../store/stats.ts'

/** A session that a get found. */
export interface FoundSession {
  /** The encoded session exactly as it was put. The bytes are the caller's own copy, and secret. */
  readonly session: Buffer
  /** Lifetime left in milliseconds, > 0. */
  readonly ttlMs: number
  /**
   * Whether sessions that a resumed TLS 1.3 handshake makes may live longer than this one: the setting `renew` of the cache.
   * Absent means false.
   */
  readonly isRenewable?: boolean
}

/** A result that is there at once or later: `await` takes both. Hooks in the same process answer at once. */
export type Awaitable<T> = T | Promise<T>

/**
 * The three calls upon one named cache. `createNode(...).hooks(name)` has them in this process, `connectHooks` those of a node
 * in another one, and an object of your own may implement them for `attachSessionCache`.
 *
 * - `context` is the session ID context, 0..32 bytes (OpenSSL: SSL_CTX_set_session_id_context(3)). A longer one is the error
 *   ERR_CONTEXT, and never cut off.
 * - `id` is the session ID: 1 byte up to the `keysize` of the cache. IDs made by OpenSSL have 32 bytes.
 * - `serverName` is the name that the client sent as SNI (RFC 6066, section 3): '' when it sent none, undefined when the caller
 *   cannot know it.
 *
 * ```ts
 * const context = Buffer.from('shop.example')
 * await hooks.put(context, id, session, 300_000, 'www.shop.example') // 'stored'
 * await hooks.get(context, id, 'www.shop.example') // { session, ttlMs }
 * await hooks.get(context, id, 'mail.example') // undefined: a miss
 * ```
 */
export interface SessionHooks {
  /**
   * Looks a session up. Resolves with undefined, a miss, when there is none, when its lifetime is over, and when it was made
   * under another context or server name. Without `serverName` the name is not compared. Throws or rejects with ERR_CONTEXT.
   */
  get(context: Uint8Array, id: Uint8Array, serverName?: string): Awaitable<FoundSession | undefined>
  /**
   * Stores an encoded session on this node, which sends it to its peers without waiting for them. A refusal is a result: see
   * PutResult; what was stored under this ID before then stays. `ttlMs` asks for a lifetime in milliseconds; the `timeout`
   * of the cache, which also counts when it is left out, and the session itself may shorten it. Throws or rejects with
   * ERR_CONTEXT; hooks of another process also reject with ERR_UNREACHABLE, ERR_DEADLINE, ERR_CACHE and ERR_INTERNAL.
   */
  put(
    context: Uint8Array,
    id: Uint8Array,
    session: Uint8Array,
    ttlMs?: number,
    serverName?: string,
  ): Awaitable<PutResult>
  /**
   * Takes a session out, here and on all peers. Resolves with whether this node held it under this context. Throws or rejects
   * like `put`.
   */
  remove(context: Uint8Array, id: Uint8Array): Awaitable<boolean>
}
