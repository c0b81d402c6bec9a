// The exit codes of the process.

import { type ErrorCode, TlscachedError } from '../base/errors.ts'

export const FAILED = 1
/** Exit code for wrong usage or a wrong configuration. */
export const INVALID = 2

const INVALID_CODES = new Set<ErrorCode>([
  'ERR_USAGE',
  'ERR_CONFIG',
  'ERR_KEYRING',
  'ERR_INSECURE',
  'ERR_ADDRESS',
])

export function exitCodeOf(error: unknown): number {
  return error instanceof TlscachedError && INVALID_CODES.has(error.code) ? INVALID : FAILED
}
