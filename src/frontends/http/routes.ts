// The routes of the HTTP frontend, and their query parameters. First those for operators and Prometheus: health,
// metrics, caches and peers; none of them returns a session.

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { parseHex } from '../../base/bytes.ts'
import { codeOf, TlscachedError } from '../../base/errors.ts'
import { toContext } from '../../session/encoded-session.ts'
import { describeCache, describeReadiness, describeReplication } from '../../status/documents.ts'
import type { ClusterTrace } from '../../status/trace.ts'
import { MAX_KEYSIZE } from '../../store/limits.ts'
import { describeTickets } from '../../tickets/report.ts'
import type { HttpBackend, HttpCache } from './backend.ts'
import { BODY_TOO_LARGE, fault, faultOf, faultOfRefusal, sendFault } from './error-replies.ts'

const READY_PATH = '/readyz'
/** Query parameter of READY_PATH: with it the node must also replicate now to be ready. */
const STRICT = 'strict'

export const OPERATOR_PATHS = [
  '/healthz',
  READY_PATH,
  '/metrics',
  '/v1/caches',
  '/v1/caches/:cache',
  '/v1/peers',
  '/v1/tickets',
  '/v1/tickets/:group',
] as const
/** Not of a repeater. */
export const CLUSTER_PATH = '/v1/cluster'
export const OPERATOR_METHODS = ['GET', 'HEAD'] as const

export function addOperatorRoutes(app: FastifyInstance, backend: HttpBackend): void {
  app.addHook('preHandler', async (request) => {
    readQuery(request, request.routeOptions.url === READY_PATH ? [STRICT] : [])
  })

  app.get('/healthz', async () => ({ status: 'ok', node: backend.nodeName }))
  app.get(READY_PATH, async (request, reply) => {
    const { isReady, isStrictlyReady, reason } = backend.readiness()
    const strict = readQuery(request, [STRICT]).get(STRICT)
    if (strict !== undefined && strict !== '') {
      throw new TlscachedError('ERR_USAGE', `query parameter "${STRICT}" has no value`)
    }
    const ready = strict === undefined ? isReady : isStrictlyReady
    return reply.code(ready ? 200 : 503).send({ ready, reason })
  })
  app.get('/metrics', async (_request, reply) => {
    const { contentType, text } = await backend.metrics()
    return reply.header('content-type', contentType).send(text)
  })
  app.get('/v1/caches', async () => ({
    node: backend.nodeName,
    ...describeReadiness(backend.readiness()),
    caches: [...backend.caches.values()].map(describeCache),
  }))
  app.get<{ Params: { cache: string } }>('/v1/caches/:cache', async (request) =>
    describeCache(findCache(backend, request.params.cache)),
  )
  app.get('/v1/peers', async () => describeReplication(backend))
  app.get('/v1/tickets', async () => ({
    node: backend.nodeName,
    ...describeReadiness(backend.readiness()),
    groups: backend.tickets === undefined ? [] : describeTickets(backend.tickets),
  }))
  app.get<{ Params: { group: string } }>('/v1/tickets/:group', async (request) => {
    const { group } = request.params
    const [described] = backend.tickets === undefined ? [] : describeTickets(backend.tickets, group)
    if (described !== undefined) return described
    throw new TlscachedError('ERR_GROUP', `no such group of ticket keys: "${group}"`)
  })
  const { cluster } = backend
  if (cluster !== undefined) app.get(CLUSTER_PATH, () => cluster.look())
}

// The routes for sessions over HTTP: get, put and remove, with the bytes of the session as body.

export const SESSION_PATH = '/v1/caches/:cache/sessions/:id'
export const SESSION_METHODS = ['GET', 'PUT', 'DELETE'] as const

/** Where a session is on all nodes: as much as a session route shows, so it is under the same condition. */
export const TRACE_PATH = '/v1/trace/:id'
/** Longest time in seconds that one request has a session followed. */
const MAX_FOLLOW_SEC = 60

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
    method: 'GET',
    url: TRACE_PATH,
    onRequest,
    handler: (request: FastifyRequest<{ Params: { id: string } }>) =>
      traceSession(backend, request),
  })
  app.route({
    method: 'DELETE',
    url: SESSION_PATH,
    onRequest,
    handler: (request: SessionRequest, reply) => removeSession(cacheOf(request), request, reply),
  })
}

async function traceSession(
  backend: HttpBackend,
  request: FastifyRequest<{ Params: { id: string } }>,
): Promise<ClusterTrace> {
  const follow = readQuery(request, ['follow']).get('follow') ?? '0'
  const followSec = /^\d{1,2}$/.test(follow) ? Number(follow) : Number.NaN
  if (!(followSec <= MAX_FOLLOW_SEC)) {
    throw new TlscachedError('ERR_USAGE', `follow: "${follow}" is not 0..${MAX_FOLLOW_SEC} seconds`)
  }
  const id = parseHex(request.params.id)
  if (id.length > MAX_KEYSIZE) {
    throw new TlscachedError('ERR_KEYSIZE', `a session ID has at most ${MAX_KEYSIZE} bytes`)
  }
  return (await backend.trace?.(id, followSec * 1000)) ?? { nodes: [] }
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
  if (found === undefined) return sendFault(reply, fault('ERR_MISS'))
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
  const result = await hooks.put({
    context: contextOf(query),
    id,
    session,
    ttlMs: ttlMsOf(query),
    serverName: query.get('server_name'),
  })
  if (result === 'stored' || result === 'replaced') return reply.code(201).send({ result })
  return sendFault(reply, faultOfRefusal(result))
}

async function removeSession(
  { hooks }: HttpCache,
  request: SessionRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const query = readQuery(request, ['context', 'context_hex'])
  const id = parseHex(request.params.id)
  const isRemoved = await hooks.remove(contextOf(query), id)
  return isRemoved ? reply.code(204).send() : sendFault(reply, fault('ERR_MISS'))
}

// Reads the query parameters of a request. Every mistake is an error; nothing is ignored.

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
