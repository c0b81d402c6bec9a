// A cache shared with uWSGI nodes over a memory network, for tests.

import type { TestContext } from 'node:test'
import type { HostAddress } from '../../src/base/address.ts'
import type { CacheLimits } from '../../src/store/limits.ts'
import { CacheUdp } from '../../src/uwsgi/cache-udp.ts'
import { createCacheFixture } from './cache-fixture.ts'
import { MemoryNetwork } from './memory-network.ts'

export const THEIR_ADDRESS = { host: '127.0.1.2', port: 7171 }
export const OUR_ADDRESS = { host: '127.0.1.1', port: 7171 }
/** Where uWSGI sends from on loopback, whatever it is bound to. */
export const SENDER = { host: '127.0.0.1', port: 40_000 }

export interface CacheUdpSetup {
  readonly our?: HostAddress
  readonly peers?: readonly HostAddress[]
  readonly group?: HostAddress
  readonly limits?: Partial<CacheLimits>
}

export async function setupCacheUdp(t: TestContext, options: CacheUdpSetup = {}) {
  const { our = OUR_ADDRESS, peers = [THEIR_ADDRESS], group, limits = {} } = options
  const cache = createCacheFixture({ keysize: 64, ...limits })
  const network = new MemoryNetwork({ clock: cache.clock })
  const transport = network.transport(our, group)
  const cacheUdp = new CacheUdp({
    ...cache,
    transport,
    peers,
    interfaceAddresses: () => ['127.0.0.1', '10.0.0.1'],
  })
  cache.store.onChange = (change) => cacheUdp.publish(change)
  await cacheUdp.start()
  t.after(() => cacheUdp.stop())
  const { stats } = cacheUdp
  const receive = (datagram: Buffer, from: HostAddress = SENDER) =>
    transport.receive(datagram, from)
  const dropped = () =>
    Object.fromEntries(Object.entries(stats.dropped).filter(([, count]) => count > 0))
  const sent = () => network.sent.map(({ datagram }) => datagram)
  return { ...cache, network, transport, cacheUdp, stats, receive, dropped, sent }
}
