// Reads the query parameters of a request. Every mistake is an error; nothing is ignored.

import type { FastifyRequest } from 'fastify'
import { parseHex } from '../../base/bytes.ts'
import { TlscachedError } from '../../base/errors.ts'
import { toContext } from '../../session/context.ts'

/** A number of seconds with at most three decimals. */
const TTL_PATTERN = /^\d{1,9}(?:\.\d{1,3})?$/

export type Query = ReadonlyMap<string, string>

/** Reads all query parameters. Throws ERR_USAGE for one that is unknown or given twice. */
export function readQuery(request: FastifyRequest, known: readonly string[]): Query {
  const query = new Map<string, string>()
  for (const [name, value] of Object.entries(request.query ?? {})) {
    if (!known.includes(name)) {
      const those = known.length === 0 ? 'there are none here' : `known are ${known.join(', ')}`
      throw new TlscachedError('ERR_USAGE', `unknown query parameter "${name}"; ${those}`)
    }
    if (typeof value !== 'string') {
      throw new TlscachedError('ERR_USAGE', `query parameter "${name}" is there twice`)
    }
    query.set(name, value)
  }
  return query
}

/** Returns the session ID context of `context` (text) or `context_hex`; the empty one when neither is given. */
export function contextOf(query: Query): Buffer {
  const text = query.get('context')
  const hex = query.get('context_hex')
  if (text !== undefined && hex !== undefined) {
    throw new TlscachedError('ERR_USAGE', 'context and context_hex exclude each other')
  }
  return toContext(hex === undefined ? (text ?? '') : parseHex(hex))
}

/** Returns `ttl` in milliseconds; undefined when it is not given. Throws ERR_TTL unless it is above 0. */
export function ttlMsOf(query: Query): number | undefined {
  const text = query.get('ttl')
  if (text === undefined) return undefined
  const ttlMs = TTL_PATTERN.test(text) ? Math.round(Number(text) * 1000) : 0
  if (ttlMs <= 0) throw new TlscachedError('ERR_TTL', `ttl: "${text}" is not a lifetime in seconds`)
  return ttlMs
}
