// Turns every error into an HTTP status and a body `{code, message}`.

import type { Socket } from 'node:net'
import type { FastifyReply } from 'fastify'
import { codeOf, ERROR_CODES, type ErrorCode, TlscachedError } from '../../base/errors.ts'
import type { RefusalReason } from '../../store/stats.ts'
import { ANSWER_HEADER_LINES } from '../../streams/browser-guard.ts'

/** HTTP status and error code of each reason for which a put is refused. */
export const REFUSALS: Record<
  RefusalReason,
  { readonly status: number; readonly code: ErrorCode }
> = {
  keysize: { status: 400, code: 'ERR_KEYSIZE' },
  blocksize: { status: 413, code: 'ERR_BLOCKSIZE' },
  context: { status: 403, code: 'ERR_CONTEXT' },
  full: { status: 507, code: 'ERR_FULL' },
  expired: { status: 422, code: 'ERR_EXPIRED' },
  early_data: { status: 422, code: 'ERR_EARLY_DATA' },
  version: { status: 409, code: 'ERR_VERSION' },
  key_mismatch: { status: 422, code: 'ERR_KEY_MISMATCH' },
}

/** HTTP status of the error codes that a handler may throw; any other code is the caller's mistake, 400. */
export const STATUS_OF: Partial<Record<ErrorCode, number>> = {
  ERR_MISS: 404,
  ERR_CACHE: 404,
  ERR_NOT_FOUND: 404,
  ERR_INSECURE: 403,
  ERR_FOREIGN: 403,
  ERR_BUSY: 503,
  ERR_INTERNAL: 500,
}

export const BODY_TOO_LARGE = 'FST_ERR_CTP_BODY_TOO_LARGE'
/** Codes of a body that was cut off, or whose length is not that of Content-Length. */
const BODY_ERRORS = new Set(['FST_ERR_CTP_INVALID_CONTENT_LENGTH', 'ECONNRESET', 'ECONNABORTED'])

export interface HttpFault {
  readonly status: number
  readonly code: ErrorCode
  readonly message: string
}

/** Returns the answer to anything that was thrown. The text of an unexpected error is not sent to the client. */
export function faultOf(error: unknown): HttpFault {
  if (error instanceof TlscachedError) {
    return { status: STATUS_OF[error.code] ?? 400, code: error.code, message: error.message }
  }
  const code = codeOf(error) ?? ''
  if (code === BODY_TOO_LARGE) return fault(413, 'ERR_BLOCKSIZE')
  if (BODY_ERRORS.has(code)) return fault(400, 'ERR_BODY')
  const status = statusOf(error)
  if (status < 500) return { status, code: 'ERR_USAGE', message: messageOfFastify(error) }
  return fault(500, 'ERR_INTERNAL')
}

export function sendFault(reply: FastifyReply, { status, code, message }: HttpFault): FastifyReply {
  return reply.code(status).send({ code, message })
}

/** Answers bytes that are not HTTP, or a request that is late, on the bare socket: there is no reply object yet. */
export function answerNoHttp(error: Error, socket: Socket): void {
  if (codeOf(error) === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  const isTimeout = codeOf(error) === 'ERR_HTTP_REQUEST_TIMEOUT'
  const status = isTimeout ? '408 Request Timeout' : '400 Bad Request'
  const { code, message } = fault(400, isTimeout ? 'ERR_DEADLINE' : 'ERR_USAGE')
  const body = JSON.stringify({ code, message })
  socket.end(
    `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n` +
      `${ANSWER_HEADER_LINES}Connection: close\r\n\r\n${body}`,
  )
}

export function fault(status: number, code: ErrorCode): HttpFault {
  return { status, code, message: ERROR_CODES[code] }
}

function statusOf(error: unknown): number {
  const hasStatus = error instanceof Error && 'statusCode' in error
  return hasStatus && typeof error.statusCode === 'number' ? error.statusCode : 500
}

function messageOfFastify(error: unknown): string {
  return error instanceof Error ? error.message : ERROR_CODES.ERR_USAGE
}
