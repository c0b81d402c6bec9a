// The session ID context: a session may only be resumed under the context that it was made under.

import { hash } from 'node:crypto'
import { asBuffer } from '../base/bytes.ts'
import { TlscachedError } from '../base/errors.ts'

/** Longest session ID context: OpenSSL's SSL_MAX_SID_CTX_LENGTH. */
export const MAX_CONTEXT_BYTES = 32
/** Length of a context that is bound to a server name: that of a SHA-256. */
const NAME_BOUND_BYTES = 32
const ZERO_BYTE = Buffer.alloc(1)

/** The context as bytes, text as UTF-8. Throws ERR_CONTEXT above MAX_CONTEXT_BYTES; nothing is ever cut off. */
export function toContext(value: string | Uint8Array): Buffer {
  const context = typeof value === 'string' ? Buffer.from(value, 'utf8') : asBuffer(value)
  checkContext(context)
  return context
}

/** Throws ERR_CONTEXT when the context is longer than MAX_CONTEXT_BYTES. */
export function checkContext(context: Uint8Array): void {
  if (context.length <= MAX_CONTEXT_BYTES) return
  throw new TlscachedError(
    'ERR_CONTEXT',
    `a session ID context has at most ${MAX_CONTEXT_BYTES} bytes, this one has ${context.length}`,
  )
}

/**
 * The context, 32 bytes, that a Node.js server with this `sessionIdContext` writes into its sessions, in releases since
 * November 2026 (22.23.5, 24.22.3: "tls: don't allow TLS resumption to change SNI"): SHA-256 of the context, a zero
 * byte and the server name as the client sent it, one byte per character. Earlier releases write the context itself.
 */
export function nameBoundContext(context: Uint8Array, serverName: string): Buffer {
  const name = Buffer.from(serverName, 'latin1')
  return hash('sha256', Buffer.concat([context, ZERO_BYTE, name]), 'buffer')
}

/**
 * Whether `written`, the context in a session's own bytes, says that the session was made under the operator's
 * `context`: as OpenSSL writes it, or as Node.js binds it to the session's own `serverName`.
 */
export function isContextOf(written: Uint8Array, context: Uint8Array, serverName: string): boolean {
  if (isSameBytes(written, context)) return true
  if (written.length !== NAME_BOUND_BYTES) return false
  return isSameBytes(written, nameBoundContext(context, serverName))
}

/**
 * Whether both have the same bytes. The time depends on them: only for public values, as contexts and session IDs are.
 */
export function isSameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  for (let at = 0; at < a.length; at += 1) if (a[at] !== b[at]) return false
  return true
}
