// What an operator and Prometheus ask: health, metrics, caches, peers. No session ever passes here.

import type { FastifyInstance } from 'fastify'
import type { PeerStatus } from '../../replication/peer-status.ts'
import type { ReplicationStats } from '../../replication/stats.ts'
import type { SyncStatus } from '../../replication/synchronizer.ts'
import type { HttpBackend, HttpCache } from './backend.ts'
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

function describeCache({ limits, singleUse, stats }: HttpCache) {
  return {
    name: limits.name,
    items: stats.items,
    items_limit: limits.items,
    keysize: limits.keysize,
    blocksize: limits.blocksize,
    timeout_ms: limits.timeoutMs,
    contexts_hex: limits.contexts?.map((context) => Buffer.from(context).toString('hex')) ?? null,
    full: limits.full,
    single_use: singleUse,
    stored_bytes: stats.storedBytes,
    arena_bytes: stats.arenaBytes,
    tombstones: stats.tombstones,
    gets: stats.gets,
    puts: stats.puts,
    applied: stats.applied,
    removes: stats.removes,
    evicted: stats.evicted,
    expired: stats.expired,
  }
}

function describePeer(peer: PeerStatus) {
  return {
    role: peer.role,
    name: peer.name,
    address: peer.address,
    boot: peer.boot ?? null,
    up: peer.isUp,
    verified: peer.isVerified,
    last_seen_ms: rounded(peer.lastSeenMs),
    lag_ms: rounded(peer.lagMs),
    clock_difference_ms: rounded(peer.clockDifferenceMs),
    lost: peer.lost,
    repaired: peer.repaired,
    entries_sent: peer.entriesSent,
    entries_received: peer.entriesReceived,
    sync: describePeerSync(peer.sync),
  }
}

function describePeerSync(sync: PeerStatus['sync']) {
  if (sync === undefined) return null
  return { state: sync.state, last_synced_ms: rounded(sync.lastSyncedMs) }
}

function describeSync(status: SyncStatus | undefined) {
  if (status === undefined) return null
  const { state, peer, lastSyncedMs } = status
  return { state, peer, last_synced_ms: rounded(lastSyncedMs) }
}

function describeReplication(stats: ReplicationStats | undefined) {
  if (stats === undefined) return null
  return {
    datagrams_sent: stats.datagramsSent,
    datagrams_received: stats.datagramsReceived,
    entries_sent: stats.entriesSent,
    entries_received: stats.entriesReceived,
    dropped: stats.dropped,
    lost: stats.lost,
    repaired: stats.repaired,
    duplicates: stats.duplicates,
  }
}

function rounded(durationMs: number | undefined): number | null {
  return durationMs === undefined ? null : Math.round(durationMs)
}
