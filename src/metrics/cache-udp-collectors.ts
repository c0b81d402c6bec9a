// The metrics of the cache-udp listeners, which speak uWSGI's own datagrams. Listeners of one cache are added up.

import type { Registry } from 'prom-client'
import type { CacheUdpStats } from '../uwsgi/stats.ts'
import { addCounter, type Reading } from './stats-metrics.ts'

export interface CacheUdpSource {
  readonly cache: string
  readonly stats: CacheUdpStats
  sendErrors(): number
}

export function collectCacheUdp(registry: Registry, sources: readonly CacheUdpSource[]): void {
  addCounter(registry, {
    name: 'uwsgi_datagrams_total',
    help: 'Datagrams of cache-udp sent, once per destination, and received.',
    labelNames: ['cache', 'direction'],
    read: () =>
      readings(sources, 'direction', ({ datagramsSent, datagramsReceived }) => ({
        sent: datagramsSent,
        received: datagramsReceived,
      })),
  })
  addCounter(registry, {
    name: 'uwsgi_applied_total',
    help: 'Datagrams of cache-udp that changed the cache.',
    labelNames: ['cache', 'kind'],
    read: () =>
      readings(sources, 'kind', ({ stored, removed }) => ({ set: stored, delete: removed })),
  })
  addCounter(registry, {
    name: 'uwsgi_dropped_total',
    help: 'Datagrams of cache-udp that went no further, by reason.',
    labelNames: ['cache', 'reason'],
    read: () => readings(sources, 'reason', ({ dropped }) => dropped),
  })
  addCounter(registry, {
    name: 'uwsgi_send_errors_total',
    help: 'Datagrams of cache-udp that the network refused to send.',
    labelNames: ['cache'],
    read: () =>
      sources.map((source) => ({ labels: { cache: source.cache }, value: source.sendErrors() })),
  })
}

/** Readings per cache and key of the record; the counter adds up those with equal labels. */
function readings(
  sources: readonly CacheUdpSource[],
  label: string,
  read: (stats: CacheUdpStats) => Readonly<Record<string, number>>,
): Reading[] {
  return sources.flatMap(({ cache, stats }) =>
    Object.entries(read(stats)).map(([name, value]) => ({
      labels: { cache, [label]: name },
      value,
    })),
  )
}
