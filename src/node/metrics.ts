// Which metrics a node and a repeater have: those of their counters, and those that are measured when scraped.

import type { Registry } from 'prom-client'
import { counter, gauge, histogram, type Metric, type Reading } from '../base/counters.ts'
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
import { KEY_STATES, type RingReport } from '../tickets/report.ts'
import { RING_COUNTERS, type RingStats } from '../tickets/ring.ts'
import type { TargetReport } from '../tickets/targets/runner.ts'
import { TARGET_COUNTERS } from '../tickets/targets/target.ts'
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
  peerSyncFailed: gauge(
    'peer_sync_failed',
    '1 when the last copy of the peer, or comparison with it, ended early; only while the peer is heard.',
    'peer',
  ),
  keyAgeSec: gauge('key_age_seconds', 'Time since the keyring file was written.'),
  uwsgiSendErrors: counter(
    'uwsgi_send_errors_total',
    'Datagrams of cache-udp that the network refused to send.',
    'cache',
  ),
  ticketKeyAgeSec: gauge(
    'ticket_key_age_seconds',
    'Age of the oldest ticket key of this use; `current` is the one that tickets are made with.',
    'group',
    'state',
  ),
  ticketKeys: gauge('ticket_keys', 'Ticket keys that open tickets.', 'group'),
  ticketRotateSec: gauge('ticket_rotate_seconds', 'The setting `rotate` of the group.', 'group'),
  ticketWaitSec: gauge('ticket_wait_seconds', 'The setting `wait` of the group.', 'group'),
  ticketNextRotationSec: gauge(
    'ticket_next_rotation_seconds',
    'Time until this node makes the next ticket key, unless another node does.',
    'group',
  ),
  ticketRingDiffers: gauge(
    'ticket_ring_differs',
    '1 when the last greeting of the peer showed other ticket keys than this node has.',
    'peer',
  ),
  ticketUnknownGroups: counter(
    'ticket_unknown_groups_total',
    'Rings of peers for a group that is not configured here.',
  ),
  targetLastSuccessSec: gauge(
    'ticket_target_last_success_timestamp_seconds',
    'When the terminator was last given what it needs, in seconds since 1970.',
    'target',
  ),
  targetCurrent: gauge(
    'ticket_target_current',
    '1 when a ticket of the terminator was made with the current key; only where it is probed.',
    'target',
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
  addMetric(registry, MEASURED.peerSyncFailed, () => readPeerSyncs(replicator.peers()))
  collectKeyAge(registry, source)
}

export interface TicketsSource {
  readonly rings: readonly { readonly group: string; readonly stats: RingStats }[]
  reports(): readonly RingReport[]
  targets(): readonly TargetReport[]
  /** Peers by name with whether their rings differ from those of this node. */
  differing(): readonly { readonly peer: string; readonly differs: boolean }[]
  unknownGroups(): number
}

export function collectTickets(registry: Registry, source: TicketsSource): void {
  addCounters(registry, [RING_COUNTERS], () =>
    source.rings.map(({ group, stats }) => ({
      declaration: RING_COUNTERS,
      counts: stats,
      labels: { group },
    })),
  )
  const perGroup = (metric: Metric, read: (report: RingReport) => number | undefined) =>
    addMetric(registry, metric, () =>
      source.reports().flatMap((report) => {
        const value = read(report)
        return value === undefined ? [] : [{ labels: { group: report.group }, value }]
      }),
    )
  perGroup(MEASURED.ticketKeys, ({ keys }) => keys.length)
  perGroup(MEASURED.ticketRotateSec, ({ rotateMs }) => rotateMs / 1000)
  perGroup(MEASURED.ticketWaitSec, ({ waitMs }) => waitMs / 1000)
  perGroup(MEASURED.ticketNextRotationSec, ({ nextKeyMs }) => nextKeyMs && nextKeyMs / 1000)
  addMetric(registry, MEASURED.ticketKeyAgeSec, () => source.reports().flatMap(readAges))
  addMetric(registry, MEASURED.ticketRingDiffers, () => readDiffering(source.differing()))
  addMetric(registry, MEASURED.ticketUnknownGroups, () => [{ value: source.unknownGroups() }])
  addMetric(registry, MEASURED.targetLastSuccessSec, () =>
    source
      .targets()
      .flatMap(({ name: target, lastSuccessMs }) =>
        lastSuccessMs === undefined ? [] : [{ labels: { target }, value: lastSuccessMs / 1000 }],
      ),
  )
  addCounters(registry, [TARGET_COUNTERS], () =>
    source.targets().map(({ name: target, failures, reloads }) => ({
      declaration: TARGET_COUNTERS,
      counts: { failures, reloads },
      labels: { target },
    })),
  )
  addMetric(registry, MEASURED.targetCurrent, () =>
    source
      .targets()
      .flatMap(({ name: target, isCurrent }) =>
        isCurrent === undefined ? [] : [{ labels: { target }, value: isCurrent ? 1 : 0 }],
      ),
  )
}

/** One reading for each use that a key of the ring has: that of the oldest one. */
function readAges({ group, keys }: RingReport): Reading[] {
  return KEY_STATES.flatMap((state) => {
    const ages = keys.filter((key) => key.state === state).map(({ ageMs }) => ageMs)
    return ages.length === 0 ? [] : [{ labels: { group, state }, value: Math.max(...ages) / 1000 }]
  })
}

/** One reading per name: two boots of a peer differ when one of them does. */
function readDiffering(peers: ReturnType<TicketsSource['differing']>): Reading[] {
  const differs = new Map<string, boolean>()
  for (const one of peers) {
    differs.set(one.peer, one.differs || differs.get(one.peer) === true)
  }
  return [...differs].map(([peer, value]) => ({ labels: { peer }, value: value ? 1 : 0 }))
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

/** One reading per name of a peer that is heard and was called; of two boots that are heard, one that failed counts. */
function readPeerSyncs(peers: readonly PeerStatus[]): Reading[] {
  const hasFailed = new Map<string, boolean>()
  for (const { name, isUp, sync } of peers) {
    if (!isUp || sync === undefined) continue
    hasFailed.set(name, sync.hasFailed || hasFailed.get(name) === true)
  }
  return [...hasFailed].map(([peer, value]) => ({ labels: { peer }, value: value ? 1 : 0 }))
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
