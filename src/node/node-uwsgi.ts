// Creates the listeners for uWSGI's own datagrams that the configuration has.

import { TlscachedError } from '../base/errors.ts'
import type { Clock, Logger } from '../base/world.ts'
import type { ContextlessHooks } from '../hooks/contextless-hooks.ts'
import type { CountingTransport } from '../replication/live/udp-transport.ts'
import type { Change } from '../store/versions.ts'
import { toListenError } from '../streams/listener.ts'
import { CacheUdp } from '../uwsgi/cache-udp.ts'
import type { UwsgiListenerConfig } from './config.ts'
import type { Machine } from './machine.ts'
import type { CacheUdpSource } from './metrics.ts'

export interface NodeUwsgiOptions {
  readonly listeners: readonly UwsgiListenerConfig[]
  readonly hooks: ReadonlyMap<string, ContextlessHooks>
  readonly clock: Clock
  readonly logger: Logger
  readonly machine: Machine
}

interface Listener extends CacheUdpSource {
  readonly config: UwsgiListenerConfig
  readonly transport: CountingTransport
  readonly cacheUdp: CacheUdp
}

export class NodeUwsgi {
  readonly listeners: readonly Listener[]
  readonly #logger: Logger

  /** Throws ERR_CACHE when there is no cache of a listener's name. */
  constructor({ listeners, hooks, clock, logger, machine }: NodeUwsgiOptions) {
    this.#logger = logger
    this.listeners = listeners.map((config) => {
      const { cache, listen, peers } = config
      const cacheHooks = hooks.get(cache)
      if (cacheHooks === undefined) throw new TlscachedError('ERR_CACHE')
      const transport = machine.openTransport({
        listen,
        networkInterface: config.interface,
        multicastHops: config.multicastTtl,
        clock,
        logger,
      })
      const cacheUdp = new CacheUdp({
        ...machine,
        transport,
        peers,
        hooks: cacheHooks,
        clock,
        logger,
      })
      return { cache, config, transport, cacheUdp }
    })
  }

  async start(): Promise<void> {
    for (const [index, { config, cacheUdp }] of this.listeners.entries()) {
      try {
        await cacheUdp.start()
      } catch (error) {
        throw toListenError(error, config.listen, `replication.listeners[${index}].listen`)
      }
      this.#logger.warn(
        { cache: config.cache, wire: 'uwsgi' },
        'replication: this wire is plain text, and anybody who reaches it can write sessions',
      )
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.listeners.map(({ cacheUdp }) => cacheUdp.stop()))
  }

  publish(change: Change): void {
    for (const { cache, cacheUdp } of this.listeners) {
      if (cache === change.cache) cacheUdp.publish(change)
    }
  }
}
