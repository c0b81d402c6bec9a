// Which metrics a node and a repeater have: those of their counters, and those that are measured when scraped.

import type { Registry } from 'prom-client'
import { counter, gauge, histogram, type Reading } from '../base/counters.ts'
import type { DurationHistogram } from '../base/histogram.ts'
import { addCounters, addMetric } from '../base/metrics.ts'
import { HOOK_COUNTERS, type HookStats } from '../hooks/stats.ts'
import type { PeerStatus } from '../replication/peers/presence.ts'
import { REPEATER_COUNTERS, type RepeaterStats } from '../replication/repeater/stats.ts'
import { REPLICATION_COUNTERS, type ReplicationStats } from '../replication/stats.ts'
import { SYNC_COUNTERS, type SyncStats } from '../replication/sync/stats.ts'
import type { SyncState } from '../replication/sync/synchronizer.ts'
import { CACHE_COUNTERS, type CacheStats } from '../store/stats.ts'
import type { Frontend } from '../streams/listener.ts'
import { CACHE_UDP_COUNTERS, type CacheUdpStats } from '../uwsgi/stats.ts'

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

export interface CacheSource {
  readonly name: string
  readonly itemsLimit: number
  readonly stats: CacheStats
  readonly hookStats: HookStats
}

export interface ReplicationSource {
  readonly stats: ReplicationStats
  readonly sync: SyncStats
  syncState(): SyncState
  peers(): readonly PeerStatus[]
  /** Datagrams that the network refused to send. */
  sendErrors(): number
  /** Changes of other nodes for a cache that this node does not have. */
  unknownCaches(): number
  /** Seconds since the keyring file was written; undefined without a file. */
  keyAgeSec(): number | undefined
}

export interface CacheUdpSource {
  readonly cache: string
  readonly stats: CacheUdpStats
  sendErrors(): number
}

export interface RepeaterSource {
  readonly stats: RepeaterStats
  readonly subscribersLimit: number
  subscribers(): number
  /** Seconds since the keyring file was written; undefined without a file. */
  keyAgeSec(): number | undefined
}

export function collectCaches(registry: Registry, caches: readonly CacheSource[]): void {
  addCounters(registry, [CACHE_COUNTERS, HOOK_COUNTERS], () =>
    caches.flatMap(({ name, stats, hookStats }) => [
      { declaration: CACHE_COUNTERS, counts: stats, labels: { cache: name } },
      { declaration: HOOK_COUNTERS, counts: hookStats, labels: { cache: name } },
    ]),
  )
  addMetric(registry, MEASURED.itemsLimit, () =>
    caches.map(({ name, itemsLimit }) => ({ labels: { cache: name }, value: itemsLimit })),
  )
}

export function collectSweeper(registry: Registry, sweeps: DurationHistogram): void {
  addMetric(registry, MEASURED.sweepDurations, () => [{ value: sweeps }])
}

export function collectReplication(registry: Registry, source: ReplicationSource): void {
  const { stats, sync } = source
  addCounters(registry, [REPLICATION_COUNTERS, SYNC_COUNTERS], () => [
    { declaration: REPLICATION_COUNTERS, counts: stats },
    { declaration: SYNC_COUNTERS, counts: sync },
  ])
  addMetric(registry, MEASURED.sendErrors, () => [{ value: source.sendErrors() }])
  addMetric(registry, MEASURED.unknownCaches, () => [{ value: source.unknownCaches() }])
  addMetric(registry, MEASURED.syncState, () => [
    { labels: { state: source.syncState() }, value: 1 },
  ])
  addMetric(registry, MEASURED.peerUp, () => readPeers(source.peers()))
  collectKeyAge(registry, source)
}

export function collectRepeater(registry: Registry, source: RepeaterSource): void {
  addCounters(registry, [REPEATER_COUNTERS], () => [
    { declaration: REPEATER_COUNTERS, counts: source.stats },
  ])
  addMetric(registry, MEASURED.subscribers, () => [{ value: source.subscribers() }])
  addMetric(registry, MEASURED.subscribersLimit, () => [{ value: source.subscribersLimit }])
  collectKeyAge(registry, source)
}

/** Adds the metrics of the cache-udp listeners; those of one cache are added up. */
export function collectCacheUdp(registry: Registry, sources: readonly CacheUdpSource[]): void {
  addCounters(registry, [CACHE_UDP_COUNTERS], () =>
    sources.map(({ cache, stats }) => ({
      declaration: CACHE_UDP_COUNTERS,
      counts: stats,
      labels: { cache },
    })),
  )
  addMetric(registry, MEASURED.uwsgiSendErrors, () =>
    sources.map((source) => ({ labels: { cache: source.cache }, value: source.sendErrors() })),
  )
}

function collectKeyAge(registry: Registry, source: { keyAgeSec(): number | undefined }): void {
  addMetric(registry, MEASURED.keyAgeSec, () => {
    const value = source.keyAgeSec()
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
