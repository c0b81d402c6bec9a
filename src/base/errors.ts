// The errors that callers and operators meet: one table of codes, append-only, never reused.

import { hideKeys } from './hidden-keys.ts'

/**
 * Every error code with its general meaning. A code is never reused and never changes its meaning; src/README.md says
 * which calls throw it.
 */
export const ERROR_CODES = {
  ERR_MISS: 'no such session',
  ERR_KEYSIZE: 'the session ID is empty or longer than the keysize of the cache',
  ERR_BLOCKSIZE: 'the session is empty or larger than the blocksize of the cache',
  ERR_CONTEXT: 'the session ID context does not match',
  ERR_FULL: 'the cache is full and refuses new sessions',
  ERR_EXPIRED: 'the session has no lifetime left',
  ERR_EARLY_DATA: 'a session that allows early data is never stored',
  ERR_VERSION: 'a peer left the largest version there is under this session ID',
  ERR_KEY_MISMATCH: 'the session has another ID than the one it was to be stored under',
  ERR_CACHE: 'no such cache',
  ERR_HEX: 'not an even number of hexadecimal digits',
  ERR_TTL: 'not a lifetime in seconds',
  ERR_BODY: 'the body is missing or was cut off',
  ERR_CONFIG: 'the configuration is not valid',
  ERR_KEYRING: 'the keyring is not usable',
  ERR_ADDRESS: 'not an address',
  ERR_LISTEN: 'cannot listen on the address',
  ERR_INSECURE: 'refused because session secrets would cross the network in clear',
  ERR_SESSION_FORMAT: 'not an encoded SSL_SESSION',
  ERR_MESSAGE: 'not a message of the replication protocol',
  ERR_DEADLINE: 'no answer within the deadline',
  ERR_UNREACHABLE: 'the node cannot be reached',
  ERR_SERVER: 'the TLS server cannot use a session cache',
  ERR_USAGE: 'wrong usage',
  ERR_NOT_FOUND: 'no such resource',
  ERR_INTERNAL: 'internal error',
  ERR_NO_KEYS: 'there is no file of keys',
  ERR_FOREIGN: 'refused because a web page of another origin asks',
  ERR_BUSY: 'too many clients at once',
  ERR_GROUP: 'no such group of ticket keys',
} as const

/** An error code: `ERR_...`. */
export type ErrorCode = keyof typeof ERROR_CODES

/**
 * The error that this package throws. Programs should test `code`; `message` is for people, names the field and the
 * limit, and may change. It never holds session bytes or keys.
 *
 * ```ts
 * try {
 *   await node.start()
 * } catch (error) {
 *   if (error instanceof TlscachedError && error.code === 'ERR_LISTEN') await tryAnotherPort()
 *   else throw error
 * }
 * ```
 */
export class TlscachedError extends Error {
  override readonly name = 'TlscachedError'
  /** What went wrong, for programs. */
  readonly code: ErrorCode

  constructor(code: ErrorCode, message?: string, options?: ErrorOptions) {
    super(hideKeys(message ?? ERROR_CODES[code]), options)
    this.code = code
  }
}

/** Returns the message of anything that was thrown; text that looks like a replication key is hidden. */
export function messageOf(thrown: unknown): string {
  return hideKeys(thrown instanceof Error ? thrown.message : String(thrown))
}

/** Returns the `code` of anything that was thrown; undefined when it has none that is a string. */
export function codeOf(thrown: unknown): string | undefined {
  if (!(thrown instanceof Error) || !('code' in thrown)) return undefined
  return typeof thrown.code === 'string' ? thrown.code : undefined
}
