// The routes for operators and Prometheus: health, metrics, caches and peers. None of them returns a session.

import type { FastifyInstance } from 'fastify'
import { TlscachedError } from '../../base/errors.ts'
import {
  describeCache,
  describePeer,
  describeReadiness,
  describeReplication,
  describeSync,
} from '../node-status.ts'
import type { HttpBackend } from './backend.ts'
import { readQuery } from './query.ts'
import { findCache } from './session-routes.ts'

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
] as const
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
  app.get('/v1/peers', async () => ({
    node: backend.nodeName,
    ...describeReadiness(backend.readiness()),
    replication: describeReplication(backend.replicationStats()),
    sync: describeSync(backend.syncStatus()),
    peers: backend.peers().map(describePeer),
  }))
}
