// Creates the frontends that the configuration has, and says what listens.

import type { Registry } from 'prom-client'
import { formatAddress } from '../base/address.ts'
import { readVersion } from '../base/version.ts'
import type { Clock, LevelledLogger, Logger } from '../base/world.ts'
import type { HttpBackend } from '../frontends/http/backend.ts'
import { HttpFrontend } from '../frontends/http/frontend.ts'
import { MemcachedFrontend } from '../frontends/memcached/frontend.ts'
import { TicketKeys } from '../frontends/memcached/ticket-keys.ts'
import { RpcFrontend } from '../frontends/rpc/frontend.ts'
import { SessiondFrontend } from '../frontends/sessiond/frontend.ts'
import { StatsFrontend } from '../frontends/stats/frontend.ts'
import { UwsgiFrontend } from '../frontends/uwsgi/frontend.ts'
import type { ContextlessHooks } from '../hooks/contextless-hooks.ts'
import type { CountingTransport } from '../replication/live/udp-transport.ts'
import type { Frontend } from '../streams/listener.ts'
import type { FrontendsConfig } from './config.ts'
import { collectFrontends } from './metrics.ts'
import type { NodeTickets } from './node-tickets.ts'
import type { NodeUwsgi } from './node-uwsgi.ts'

export interface NodeFrontendsOptions {
  readonly config: FrontendsConfig
  readonly backend: HttpBackend
  readonly hooks: ReadonlyMap<string, ContextlessHooks>
  readonly registry: Registry
  readonly clock: Clock
  readonly logger: Logger
  /** The log whose level callers of a unix rpc socket may change. */
  readonly log?: LevelledLogger | undefined
  readonly tickets: NodeTickets | undefined
}

/**
 * Creates the frontends without starting them. Those that serve one cache are there only where there is one, which the
 * rules of the configuration demand.
 */
export function createFrontends(options: NodeFrontendsOptions): readonly Frontend[] {
  const { config, backend, hooks, registry, clock, logger, log, tickets } = options
  const { http, memcached, sessiond, rpc, stats, uwsgi, isInsecure } = config
  const frontends: Frontend[] = []
  const cacheHooks = hooks.get(config.cache)
  if (memcached !== undefined && cacheHooks !== undefined) {
    const ring = tickets?.authority.rings.find(({ group }) => group === config.memcachedTickets)
    const ticketKeys = ring && new TicketKeys(ring, clock)
    const shared = { hooks: cacheHooks, ticketKeys, clock, logger, process }
    frontends.push(new MemcachedFrontend({ address: memcached, ...shared }))
  }
  if (sessiond !== undefined && cacheHooks !== undefined) {
    const { sessiondRemove: removePolicy } = config
    const shared = { hooks: cacheHooks, clock, logger }
    frontends.push(new SessiondFrontend({ address: sessiond, removePolicy, ...shared }))
  }
  if (rpc !== undefined) {
    frontends.push(new RpcFrontend({ address: rpc, caches: hooks, clock, logger, log, tickets }))
  }
  if (uwsgi !== undefined) {
    const { cache: defaultCache } = config
    frontends.push(new UwsgiFrontend({ address: uwsgi, hooks, defaultCache, clock }))
  }
  if (stats !== undefined) {
    const facts = { version: readVersion(), pid: process.pid }
    frontends.push(new StatsFrontend({ address: stats, backend, clock, process: facts }))
  }
  // HTTP comes last, so that the other frontends listen already when it answers that the node is ready.
  if (http !== undefined) {
    const { httpHosts: hosts } = config
    frontends.push(new HttpFrontend({ listen: http, hosts, isInsecure, backend, clock, logger }))
  }
  collectFrontends(registry, frontends)
  return frontends
}

/** A part of a node that listens, for display. */
export interface Listening {
  /** `replication`, `cache-udp`, or the name of a frontend as in the configuration. */
  readonly name: string
  /** `host:port`, `[v6]:port` or `unix:/path`, with the port that the kernel chose. */
  readonly address: string
}

/** Returns what listens, with the ports that the kernel chose: replication first, frontends last. */
export function listeningOf(
  replication: CountingTransport | undefined,
  uwsgi: NodeUwsgi,
  frontends: readonly Frontend[],
): readonly Listening[] {
  const transports = uwsgi.listeners.map(({ transport }) => ({ name: 'cache-udp', transport }))
  if (replication !== undefined) {
    transports.unshift({ name: 'replication', transport: replication })
  }
  return [
    ...transports.map(({ name, transport }) => ({
      name,
      address: formatAddress(transport.group ?? transport.address),
    })),
    ...frontends.map(({ name, address }) => ({ name, address: formatAddress(address) })),
  ]
}
