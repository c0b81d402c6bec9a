// The HTTP frontend over real caches, without a socket; the node behind it is a stand-in.

import assert from 'node:assert/strict'
import { after } from 'node:test'
import { zeros } from '../../src/base/counters.ts'
import type { HttpBackend, HttpCache } from '../../src/frontends/http/backend.ts'
import { HttpFrontend } from '../../src/frontends/http/frontend.ts'
import { LocalHooks } from '../../src/hooks/local-hooks.ts'
import { NodeStatus } from '../../src/node/node-status.ts'
import type { PeerStatus } from '../../src/replication/peers/presence.ts'
import { REPLICATION_COUNTERS, type ReplicationStats } from '../../src/replication/stats.ts'
import type { SyncStatus } from '../../src/replication/sync/synchronizer.ts'
import type { Cluster } from '../../src/status/cluster.ts'
import type { Readiness } from '../../src/status/readiness.ts'
import type { ClusterTrace } from '../../src/status/trace.ts'
import { Followed } from '../../src/store/followed.ts'
import type { CacheLimits } from '../../src/store/limits.ts'
import { SessionStore } from '../../src/store/session-store.ts'
import { VersionClock } from '../../src/store/versions.ts'
import { createIdentity } from '../../src/wire/identity.ts'
import { FakeClock } from './fake-clock.ts'
import { RecordingLogger } from './recording-logger.ts'
import { seededBytes } from './seeded-random.ts'

export const clock = new FakeClock()
const logger = new RecordingLogger()

export const LIMITS: CacheLimits = {
  name: 'ssl',
  items: 3,
  keysize: 32,
  blocksize: 1024,
  timeoutMs: 300_000,
  full: 'evict',
}

export function createCache(limits: CacheLimits): HttpCache & { readonly store: SessionStore } {
  const versions = new VersionClock(clock)
  const store = new SessionStore(limits, { clock, versions, origin: 1, seed: Buffer.from('seed') })
  const hooks = new LocalHooks(store, { clock, logger })
  return {
    limits,
    singleUse: false,
    stats: store.stats,
    store,
    hooks,
    refuse: (...refusal) => void store.refuse(...refusal),
  }
}

const PEER: PeerStatus = {
  name: 'b',
  address: '127.0.0.1:7171',
  boot: '00',
  isVerified: true,
  isUp: true,
  lastSeenMs: 12.4,
  lagMs: undefined,
  clockDifferenceMs: 1.6,
  lost: 0,
  repaired: 0,
  entriesSent: 1,
  entriesReceived: 2,
  role: 'node',
  sync: { state: 'synced', hasFailed: false, lastSyncedMs: 1499.6 },
}

export class Backend implements HttpBackend {
  readonly nodeName = 'a'
  readonly caches: ReadonlyMap<string, ReturnType<typeof createCache>>
  ready: Readiness = { isReady: true, isStrictlyReady: true, reason: 'replicating' }
  stats: ReplicationStats | undefined = zeros(REPLICATION_COUNTERS)

  constructor(limits: readonly CacheLimits[]) {
    this.caches = new Map(limits.map((one) => [one.name, createCache(one)]))
    const identity = createIdentity(this.nodeName, seededBytes('http'))
    const followed = new Followed(clock)
    const status = new NodeStatus(
      this,
      { identity, followed, clock, tickets: undefined },
      undefined,
    )
    this.cluster = status.cluster
    this.trace = (id, followMs) => status.trace(id, followMs)
  }

  /** One node, with what its caches and peers say. */
  readonly cluster: Cluster
  readonly trace: (id: Buffer, followMs: number) => Promise<ClusterTrace>

  readiness(): Readiness {
    return this.ready
  }

  peers(): readonly PeerStatus[] {
    return [PEER]
  }

  syncStatus(): SyncStatus | undefined {
    return this.stats && { state: 'synced', peer: 'b', lastSyncedMs: 12.4 }
  }

  replicationStats(): ReplicationStats | undefined {
    return this.stats
  }

  metrics() {
    return { contentType: 'text/plain; version=0.0.4; charset=utf-8', text: 'x 1\n' }
  }
}

/** The app is closed when the test, or the suite, that calls this has ended. */
export function setUp(
  limits: readonly CacheLimits[] = [LIMITS],
  listen = '127.0.0.1',
  isInsecure = false,
) {
  const backend = new Backend(limits)
  const frontend = new HttpFrontend({
    listen: { host: listen, port: 0 },
    isInsecure,
    backend,
    clock,
    logger,
  })
  const app = frontend.createApp()
  after(() => app.close())
  const send = async (method: 'GET' | 'PUT' | 'DELETE' | 'POST', url: string, payload?: Buffer) => {
    const answer = await app.inject({ method, url, ...(payload !== undefined && { payload }) })
    const type = answer.headers['content-type'] ?? ''
    const json: unknown = String(type).includes('json') ? answer.json() : undefined
    const { statusCode: status, headers, rawPayload: body } = answer
    return { status, headers, body, json }
  }
  return { app, backend, send, store: backend.caches.get('ssl')?.store }
}

export const PATH = '/v1/caches/ssl/sessions/a1b2'
export const SESSION = Buffer.from([0, 1, 2, 255])

export function codeIn(json: unknown): unknown {
  assert.ok(typeof json === 'object' && json !== null && 'code' in json && 'message' in json)
  assert.equal(typeof json.message, 'string')
  assert.deepEqual(Object.keys(json).sort(), ['code', 'message'])
  return json.code
}
