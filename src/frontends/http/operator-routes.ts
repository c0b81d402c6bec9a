// What an operator and Prometheus ask: health, metrics, caches, peers. No session ever passes here.

import type { FastifyInstance } from 'fastify'
import { describeCache, describePeer, describeReplication, describeSync } from '../node-status.ts'
import type { HttpBackend } from './backend.ts'
import { readQuery } from './query.ts'
import { findCache } from './session-routes.ts'

export const OPERATOR_PATHS = [
  '/healthz',
  '/readyz',
  '/metrics',
  '/v1/caches',
  '/v1/caches/:cache',
  '/v1/peers',
] as const
export const OPERATOR_METHODS = ['GET', 'HEAD'] as const

export function addOperatorRoutes(app: FastifyInstance, backend: HttpBackend): void {
  app.addHook('preHandler', async (request) => void readQuery(request, []))

  app.get('/healthz', async () => ({ status: 'ok', node: backend.nodeName }))
  app.get('/readyz', async (_request, reply) => {
    const { isReady, reason } = backend.readiness()
    return reply.code(isReady ? 200 : 503).send({ ready: isReady, reason })
  })
  app.get('/metrics', async (_request, reply) => {
    const { contentType, text } = await backend.metrics()
    return reply.header('content-type', contentType).send(text)
  })
  app.get('/v1/caches', async () => ({
    node: backend.nodeName,
    caches: [...backend.caches.values()].map(describeCache),
  }))
  app.get<{ Params: { cache: string } }>('/v1/caches/:cache', async (request) =>
    describeCache(findCache(backend, request.params.cache)),
  )
  app.get('/v1/peers', async () => ({
    node: backend.nodeName,
    replication: describeReplication(backend.replicationStats()),
    sync: describeSync(backend.syncStatus()),
    peers: backend.peers().map(describePeer),
  }))
}
