// Creates the frontends that the configuration has.

import type { Registry } from 'prom-client'
import { TlscachedError } from '../base/errors.ts'
import { readVersion } from '../base/version.ts'
import type { Clock, Logger } from '../base/world.ts'
import type { HttpBackend } from '../frontends/http/backend.ts'
import { HttpFrontend } from '../frontends/http/frontend.ts'
import { MemcachedFrontend } from '../frontends/memcached/frontend.ts'
import { RpcFrontend } from '../frontends/rpc/frontend.ts'
import { SessiondFrontend } from '../frontends/sessiond/frontend.ts'
import type { StatsBackend } from '../frontends/stats/backend.ts'
import { StatsFrontend } from '../frontends/stats/frontend.ts'
import { UwsgiFrontend } from '../frontends/uwsgi/frontend.ts'
import type { LocalHooks } from '../hooks/local-hooks.ts'
import type { Frontend } from '../streams/listener.ts'
import type { FrontendsConfig } from './config.ts'
import { collectFrontends, type FrontendSource } from './metrics.ts'

export interface NodeFrontendsOptions {
  readonly config: FrontendsConfig
  readonly backend: HttpBackend & StatsBackend
  readonly hooks: ReadonlyMap<string, LocalHooks>
  readonly registry: Registry
  readonly clock: Clock
  readonly logger: Logger
}

/** Creates the frontends without starting them. Throws ERR_CACHE when there is no cache `frontends.cache`. */
export function createFrontends(options: NodeFrontendsOptions): readonly Frontend[] {
  const { config, backend, hooks, registry, clock, logger } = options
  const { http, memcached, sessiond, rpc, stats, uwsgi, isInsecure } = config
  const frontends: Frontend[] = []
  const sources: FrontendSource[] = []
  const cacheHooks = hooks.get(config.cache)
  if (cacheHooks === undefined) throw new TlscachedError('ERR_CACHE')
  if (memcached !== undefined) {
    const frontend = new MemcachedFrontend({
      address: memcached,
      hooks: cacheHooks,
      clock,
      logger,
      process,
    })
    frontends.push(frontend)
    sources.push(sourceOf(frontend))
  }
  if (sessiond !== undefined) {
    const { sessiondRemove: removePolicy } = config
    const shared = { hooks: cacheHooks, clock, logger }
    const frontend = new SessiondFrontend({ address: sessiond, removePolicy, ...shared })
    frontends.push(frontend)
    sources.push({ name: frontend.name, events: () => Object.entries(frontend.stats) })
  }
  if (rpc !== undefined) {
    const frontend = new RpcFrontend({ address: rpc, caches: hooks, clock, logger })
    frontends.push(frontend)
    sources.push(sourceOf(frontend))
  }
  if (uwsgi !== undefined) {
    const { cache: defaultCache } = config
    const frontend = new UwsgiFrontend({ address: uwsgi, hooks, defaultCache, clock })
    frontends.push(frontend)
    sources.push(sourceOf(frontend))
  }
  if (stats !== undefined) {
    const facts = { version: readVersion(), pid: process.pid }
    const frontend = new StatsFrontend({ address: stats, backend, clock, process: facts })
    frontends.push(frontend)
    sources.push(sourceOf(frontend))
  }
  // HTTP comes last, so that the other frontends listen already when it answers that the node is ready.
  if (http !== undefined) {
    const { httpHosts: hosts } = config
    const frontend = new HttpFrontend({ listen: http, hosts, isInsecure, backend, clock, logger })
    frontends.push(frontend)
    sources.push(sourceOf(frontend))
  }
  if (sources.length > 0) collectFrontends(registry, sources)
  return frontends
}

/** Returns the source of a stream frontend's metrics: its counters, and the open connections apart from them. */
export function sourceOf({
  name,
  stats,
}: HttpFrontend | MemcachedFrontend | RpcFrontend | StatsFrontend | UwsgiFrontend): FrontendSource {
  return {
    name,
    events: () => Object.entries(stats).filter(([event]) => event !== 'connections'),
    connections: () => stats.connections,
  }
}
