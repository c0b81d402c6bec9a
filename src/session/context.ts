// The session ID context: a session may only be resumed under the one it was made under.

import { asBuffer } from '../base/bytes.ts'
import { TlscachedError } from '../base/errors.ts'

/** OpenSSL: SSL_MAX_SID_CTX_LENGTH. */
export const MAX_CONTEXT_BYTES = 32

/** Text as UTF-8, bytes as they are. Throws ERR_CONTEXT above 32 bytes; nothing is ever cut off. */
export function toContext(value: string | Uint8Array): Buffer {
  const context = typeof value === 'string' ? Buffer.from(value, 'utf8') : asBuffer(value)
  checkContext(context)
  return context
}

/** Throws ERR_CONTEXT when it is longer than a session ID context can be. */
export function checkContext(context: Uint8Array): void {
  if (context.length <= MAX_CONTEXT_BYTES) return
  throw new TlscachedError(
    'ERR_CONTEXT',
    `a session ID context has at most ${MAX_CONTEXT_BYTES} bytes, this one has ${context.length}`,
  )
}

/** Whether both have the same bytes. Contexts and session IDs are public: no need for constant time. */
export function isSameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  for (let at = 0; at < a.length; at += 1) if (a[at] !== b[at]) return false
  return true
}
