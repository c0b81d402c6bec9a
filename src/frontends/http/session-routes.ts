// The routes for sessions over HTTP: get, put and remove, with the bytes of the session as body.

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { parseHex } from '../../base/bytes.ts'
import { codeOf, TlscachedError } from '../../base/errors.ts'
import type { HttpBackend, HttpCache } from './backend.ts'
import { BODY_TOO_LARGE, fault, faultOf, REFUSALS, sendFault } from './error-replies.ts'
import { contextOf, readQuery, ttlMsOf } from './query.ts'

export const SESSION_PATH = '/v1/caches/:cache/sessions/:id'
export const SESSION_METHODS = ['GET', 'PUT', 'DELETE'] as const

const OCTETS = 'application/octet-stream'

interface SessionParams {
  readonly cache: string
  readonly id: string
}
type SessionRequest = FastifyRequest<{ Params: SessionParams }>

/** Adds the routes. All requests fail with ERR_INSECURE while `isAllowed` returns false. */
export function addSessionRoutes(
  app: FastifyInstance,
  backend: HttpBackend,
  isAllowed: () => boolean,
): void {
  const largest = Math.max(...[...backend.caches.values()].map(({ limits }) => limits.blocksize))
  const cacheOf = (request: SessionRequest) => findCache(backend, request.params.cache)
  // This hook runs before the body is read, so that it need not be sent.
  const onRequest = async () => {
    if (!isAllowed()) throw new TlscachedError('ERR_INSECURE')
  }

  app.route({
    method: 'GET',
    url: SESSION_PATH,
    exposeHeadRoute: false,
    onRequest,
    handler: (request: SessionRequest, reply) => getSession(cacheOf(request), request, reply),
  })
  app.route({
    method: 'PUT',
    url: SESSION_PATH,
    bodyLimit: largest,
    onRequest,
    handler: (request: SessionRequest, reply) => putSession(cacheOf(request), request, reply),
    errorHandler: (error, request: SessionRequest, reply) => {
      // Fastify refused the body, but by the limit of a cache, so the cache counts it.
      if (codeOf(error) === BODY_TOO_LARGE) {
        // The length is not known (NaN) when the body came in chunks.
        const sessionBytes = Number(request.headers['content-length'])
        const refused = Number.isNaN(sessionBytes) ? {} : { sessionBytes }
        backend.caches.get(request.params.cache)?.refuse('blocksize', refused)
      }
      return sendFault(reply, faultOf(error))
    },
  })
  app.route({
    method: 'DELETE',
    url: SESSION_PATH,
    onRequest,
    handler: (request: SessionRequest, reply) => removeSession(cacheOf(request), request, reply),
  })
}

/** Returns the cache of this name. Throws ERR_CACHE when there is none. */
export function findCache(backend: HttpBackend, name: string): HttpCache {
  const cache = backend.caches.get(name)
  if (cache === undefined) throw new TlscachedError('ERR_CACHE', `no such cache: "${name}"`)
  return cache
}

async function getSession(
  { hooks }: HttpCache,
  request: SessionRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const query = readQuery(request, ['context', 'context_hex', 'server_name'])
  const id = parseHex(request.params.id)
  const found = await hooks.get(contextOf(query), id, query.get('server_name'))
  if (found === undefined) return sendFault(reply, fault(404, 'ERR_MISS'))
  return reply
    .header('content-type', OCTETS)
    .header('cache-control', 'no-store')
    .header('x-session-ttl', Math.ceil(found.ttlMs / 1000))
    .send(found.session)
}

async function putSession(
  { hooks }: HttpCache,
  request: SessionRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const query = readQuery(request, ['context', 'context_hex', 'server_name', 'ttl'])
  const id = parseHex(request.params.id)
  const session = request.body
  if (!Buffer.isBuffer(session) || session.length === 0) throw new TlscachedError('ERR_BODY')
  const result = await hooks.put(
    contextOf(query),
    id,
    session,
    ttlMsOf(query),
    query.get('server_name'),
  )
  if (result === 'stored' || result === 'replaced') return reply.code(201).send({ result })
  const { status, code } = REFUSALS[result]
  return sendFault(reply, fault(status, code))
}

async function removeSession(
  { hooks }: HttpCache,
  request: SessionRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const query = readQuery(request, ['context', 'context_hex'])
  const id = parseHex(request.params.id)
  const isRemoved = await hooks.remove(contextOf(query), id)
  return isRemoved ? reply.code(204).send() : sendFault(reply, fault(404, 'ERR_MISS'))
}
