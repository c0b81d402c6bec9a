// The three calls that a TLS terminator makes on a cache, in its own process or on a node in another one.

import type { PutResult } from '../store/stats.ts'

/** A session that a get found. */
export interface FoundSession {
  /** The encoded session exactly as it was put. The bytes are the caller's own copy, and secret. */
  readonly session: Buffer
  /** Lifetime left in milliseconds, > 0. */
  readonly ttlMs: number
  /**
   * Whether sessions made by a resumed TLS 1.3 handshake may live longer than this one, which is the setting `renew` of
   * the cache. Absent means false.
   */
  readonly isRenewable?: boolean
}

/** A session to store, with what it is bound to. Hooks of this package copy the bytes before `put` returns. */
export interface PutRequest {
  /** Session ID context, 0..32 bytes. */
  readonly context: Uint8Array
  /** Session ID, 1 byte up to the `keysize` of the cache. */
  readonly id: Uint8Array
  /** The encoded session, 1 byte up to the `blocksize` of the cache. */
  readonly session: Uint8Array
  /**
   * Lifetime asked for, in milliseconds; without it the `timeout` of the cache applies. The `timeout` and the session
   * itself may shorten it.
   */
  readonly ttlMs?: number | undefined
  /** Server name that the client sent as SNI: '' when it sent none, undefined when the caller cannot know it. */
  readonly serverName?: string | undefined
}

/** A result that comes at once or as a promise; `await` takes both. Hooks in the same process return it at once. */
export type Awaitable<T> = T | Promise<T>

/**
 * The three calls on one named cache. `createNode(...).hooks(name)` returns them for a node in this process,
 * `connectHooks` for a node in another process, and an object of your own may implement them for `attachSessionCache`.
 *
 * - `context` is the session ID context, 0..32 bytes (OpenSSL: SSL_CTX_set_session_id_context(3)). A longer one is
 *   never truncated, but the error ERR_CONTEXT.
 * - `id` is the session ID: 1 byte up to the `keysize` of the cache. IDs made by OpenSSL have 32 bytes.
 * - `serverName` is the name that the client sent as SNI (RFC 6066, section 3): '' when it sent none, undefined when
 *   the caller cannot know it.
 *
 * ```ts
 * const context = Buffer.from('shop.example')
 * const serverName = 'www.shop.example'
 * await hooks.put({ context, id, session, ttlMs: 300_000, serverName }) // 'stored'
 * await hooks.get(context, id, serverName) // { session, ttlMs }
 * await hooks.get(context, id, 'mail.example') // undefined: a miss
 * ```
 */
export interface SessionHooks {
  /**
   * Looks a session up. Resolves with undefined, a miss, when there is none, when it has expired, and when it was made
   * under another context or server name. Without `serverName` the name is not compared. Throws or rejects with
   * ERR_CONTEXT.
   */
  get(context: Uint8Array, id: Uint8Array, serverName?: string): Awaitable<FoundSession | undefined>
  /**
   * Stores an encoded session on the node, which sends it to its peers without waiting for them. A refusal is not an
   * error but a result (PutResult); what was stored under this ID before stays, except after `version`, which removes
   * it. Throws or rejects with ERR_CONTEXT; hooks on a node in another process also
   * reject with ERR_UNREACHABLE, ERR_DEADLINE, ERR_CACHE and ERR_INTERNAL.
   */
  put(request: PutRequest): Awaitable<PutResult>
  /**
   * Removes a session from the node and from all of its peers. Resolves with whether the node held it under this
   * context. Throws or rejects with the errors of `put`.
   */
  remove(context: Uint8Array, id: Uint8Array): Awaitable<boolean>
}
