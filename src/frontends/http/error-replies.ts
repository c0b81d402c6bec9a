// Turns every error into an HTTP status and a body `{code, message}`.

import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyReply } from 'fastify'
import {
  codeOf,
  ERROR_CODES,
  type ErrorCode,
  messageOf,
  TlscachedError,
} from '../../base/errors.ts'
import type { RefusalReason } from '../../store/stats.ts'
import { ANSWER_HEADER_LINES } from '../../streams/browser-guard.ts'

/** Error code of each reason for which a put is refused. */
export const REFUSAL_CODES: Record<RefusalReason, ErrorCode> = {
  keysize: 'ERR_KEYSIZE',
  blocksize: 'ERR_BLOCKSIZE',
  context: 'ERR_CONTEXT',
  full: 'ERR_FULL',
  expired: 'ERR_EXPIRED',
  early_data: 'ERR_EARLY_DATA',
  version: 'ERR_VERSION',
  key_mismatch: 'ERR_KEY_MISMATCH',
}

/** HTTP status of each error code; any other code is the caller's mistake, 400. */
export const STATUS_OF: Partial<Record<ErrorCode, number>> = {
  ERR_MISS: 404,
  ERR_CACHE: 404,
  ERR_GROUP: 404,
  ERR_NOT_FOUND: 404,
  ERR_INSECURE: 403,
  ERR_FOREIGN: 403,
  ERR_DEADLINE: 408,
  ERR_VERSION: 409,
  ERR_BLOCKSIZE: 413,
  ERR_EXPIRED: 422,
  ERR_EARLY_DATA: 422,
  ERR_KEY_MISMATCH: 422,
  ERR_BUSY: 503,
  ERR_FULL: 507,
  ERR_INTERNAL: 500,
}
/** A context that the cache does not take; one that is too long is a mistake. */
const FOREIGN_CONTEXT_STATUS = 403

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
    return fault(error.code, error.message)
  }
  const code = codeOf(error) ?? ''
  if (code === BODY_TOO_LARGE) return fault('ERR_BLOCKSIZE')
  if (BODY_ERRORS.has(code)) return fault('ERR_BODY')
  const status = statusOf(error)
  if (status < 500) return { status, code: 'ERR_USAGE', message: messageOf(error) }
  return fault('ERR_INTERNAL')
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
  const { status, code, message } = fault(isTimeout ? 'ERR_DEADLINE' : 'ERR_USAGE')
  const body = JSON.stringify({ code, message })
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n` +
      `${ANSWER_HEADER_LINES}Connection: close\r\n\r\n${body}`,
  )
}

export function fault(code: ErrorCode, message: string = ERROR_CODES[code]): HttpFault {
  return { status: STATUS_OF[code] ?? 400, code, message }
}

export function faultOfRefusal(reason: RefusalReason): HttpFault {
  const answer = fault(REFUSAL_CODES[reason])
  return reason === 'context' ? { ...answer, status: FOREIGN_CONTEXT_STATUS } : answer
}

function statusOf(error: unknown): number {
  const hasStatus = error instanceof Error && 'statusCode' in error
  return hasStatus && typeof error.statusCode === 'number' ? error.statusCode : 500
}
