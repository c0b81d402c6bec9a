// Which metrics a node and a repeater have: those of their counters, and those that are measured when scraped.

import type { Registry } from 'prom-client'
import { counter, gauge, histogram, type Reading } from '../base/counters.ts'
import type { DurationHistogram } from '../base/histogram.ts'
import { addCounters, addMetric } from '../base/metrics.ts'
import { HOOK_COUNTERS, type HookStats } from '../hooks/stats.ts'
import type { PeerStatus } from '../replication/peers/presence.ts'
import { MAX_SUBSCRIBERS, type Repeater } from '../replication/repeater/repeater.ts'
import { REPEATER_COUNTERS } from '../replication/repeater/stats.ts'
import type { Replicator } from '../replication/replicator.ts'
import { REPLICATION_COUNTERS } from '../replication/stats.ts'
import { SYNC_COUNTERS, type SyncStats } from '../replication/sync/stats.ts'
import type { SyncState } from '../replication/sync/synchronizer.ts'
import { CACHE_COUNTERS, type CacheStats } from '../store/stats.ts'
import type { Frontend } from '../streams/listener.ts'
import type { CacheUdp } from '../uwsgi/cache-udp.ts'
import { CACHE_UDP_COUNTERS } from '../uwsgi/stats.ts'
import type { ConfiguredKeys } from './keys.ts'

/** The metrics that are not counted but measured, or counted by a part that does not know what for. */
export const MEASURED = {
  itemsLimit: gauge('items_limit', 'Most sessions held.', 'cache'),
  sweepDurations: histogram(
    'sweep_duration_seconds',
    'How long the sweeper held the event loop at once.',
  ),
  sendErrors: counter(
    'replication_send_errors_total',
    'Datagrams that the network refused to send.',
  ),
  unknownCaches: counter(
    'replication_unknown_cache_total',
    'Changes of other nodes for a cache that this node does not have.',
  ),
  syncState: gauge(
    'sync_state',
    '1 for where this node is with the copy of its peers; joining and syncing are not ready.',
    'state',
  ),
  peerUp: gauge('peer_up', '1 when the peer was heard within the last ten seconds.', 'peer'),
  keyAgeSec: gauge('key_age_seconds', 'Time since the keyring file was written.'),
  uwsgiSendErrors: counter(
    'uwsgi_send_errors_total',
    'Datagrams of cache-udp that the network refused to send.',
    'cache',
  ),
  subscribers: gauge('repeater_subscribers', 'Nodes that get what the others send.'),
  subscribersLimit: gauge('repeater_subscribers_limit', 'Most nodes that can subscribe.'),
}

// The sources are parts of a node as they are, of which the metrics read this much.

export interface CacheSource {
  readonly limits: { readonly name: string; readonly items: number }
  readonly stats: CacheStats
  readonly hooks: { readonly stats: HookStats }
}

interface KeysSource {
  readonly keys: Pick<ConfiguredKeys, 'ageSec'>
}

interface TransportSource {
  readonly transport: { readonly stats: { readonly sendErrors: number } }
}

export interface ReplicationSource extends KeysSource, TransportSource {
  readonly replicator: Pick<Replicator, 'stats' | 'peers'>
  readonly sync: {
    readonly stats: SyncStats
    readonly synchronizer: { readonly status: { readonly state: SyncState } }
  }
  readonly unknownCaches: number
}

export interface CacheUdpSource extends TransportSource {
  readonly cache: string
  readonly cacheUdp: Pick<CacheUdp, 'stats'>
}

export interface RepeaterSource extends KeysSource {
  readonly repeater: Pick<Repeater, 'stats' | 'subscriptions'>
}

export function collectCaches(registry: Registry, caches: readonly CacheSource[]): void {
  const labelsOf = ({ limits }: CacheSource) => ({ cache: limits.name })
  addCounters(registry, [CACHE_COUNTERS, HOOK_COUNTERS], () =>
    caches.flatMap((cache) => [
      { declaration: CACHE_COUNTERS, counts: cache.stats, labels: labelsOf(cache) },
      { declaration: HOOK_COUNTERS, counts: cache.hooks.stats, labels: labelsOf(cache) },
    ]),
  )
  addMetric(registry, MEASURED.itemsLimit, () =>
    caches.map((cache) => ({ labels: labelsOf(cache), value: cache.limits.items })),
  )
}

export function collectSweeper(registry: Registry, sweeps: DurationHistogram): void {
  addMetric(registry, MEASURED.sweepDurations, () => [{ value: sweeps }])
}

export function collectReplication(registry: Registry, source: ReplicationSource): void {
  const { replicator, sync, transport } = source
  addCounters(registry, [REPLICATION_COUNTERS, SYNC_COUNTERS], () => [
    { declaration: REPLICATION_COUNTERS, counts: replicator.stats },
    { declaration: SYNC_COUNTERS, counts: sync.stats },
  ])
  addMetric(registry, MEASURED.sendErrors, () => [{ value: transport.stats.sendErrors }])
  addMetric(registry, MEASURED.unknownCaches, () => [{ value: source.unknownCaches }])
  addMetric(registry, MEASURED.syncState, () => [
    { labels: { state: sync.synchronizer.status.state }, value: 1 },
  ])
  addMetric(registry, MEASURED.peerUp, () => readPeers(replicator.peers()))
  collectKeyAge(registry, source)
}

export function collectRepeater(registry: Registry, source: RepeaterSource): void {
  const { repeater } = source
  addCounters(registry, [REPEATER_COUNTERS], () => [
    { declaration: REPEATER_COUNTERS, counts: repeater.stats },
  ])
  addMetric(registry, MEASURED.subscribers, () => [{ value: repeater.subscriptions().length }])
  addMetric(registry, MEASURED.subscribersLimit, () => [{ value: MAX_SUBSCRIBERS }])
  collectKeyAge(registry, source)
}

/** Adds the metrics of the cache-udp listeners; those of one cache are added up. */
export function collectCacheUdp(registry: Registry, sources: readonly CacheUdpSource[]): void {
  addCounters(registry, [CACHE_UDP_COUNTERS], () =>
    sources.map(({ cache, cacheUdp }) => ({
      declaration: CACHE_UDP_COUNTERS,
      counts: cacheUdp.stats,
      labels: { cache },
    })),
  )
  addMetric(registry, MEASURED.uwsgiSendErrors, () =>
    sources.map(({ cache, transport }) => ({
      labels: { cache },
      value: transport.stats.sendErrors,
    })),
  )
}

function collectKeyAge(registry: Registry, { keys }: KeysSource): void {
  addMetric(registry, MEASURED.keyAgeSec, () => {
    const value = keys.ageSec()
    return value === undefined ? [] : [{ value }]
  })
}

/** One reading per name: a restarted peer is listed twice for a while and is up when one of the two is. */
function readPeers(peers: readonly PeerStatus[]): Reading[] {
  const isUp = new Map<string, boolean>()
  for (const peer of peers) {
    const label = peer.name === '' ? peer.address : peer.name
    isUp.set(label, peer.isUp || isUp.get(label) === true)
  }
  return [...isUp].map(([peer, value]) => ({ labels: { peer }, value: value ? 1 : 0 }))
}

export function collectFrontends(registry: Registry, frontends: readonly Frontend[]): void {
  const declarations = frontends.map(({ counters }) => counters)
  addCounters(registry, declarations, () =>
    frontends.map(({ name, counters, stats }) => ({
      declaration: counters,
      counts: stats,
      labels: { frontend: name },
    })),
  )
}
