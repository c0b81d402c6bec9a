// The metrics of a node: caches, sweeper and replication, read from their counters when scraped.

import type { Registry } from 'prom-client'
import type { DurationHistogram } from '../base/histogram.ts'
import type { PeerStatus } from '../replication/peers/presence.ts'
import type { ReplicationStats } from '../replication/stats.ts'
import type { SyncStats } from '../replication/sync/stats.ts'
import type { SyncState } from '../replication/sync/synchronizer.ts'
import type { CacheStats } from '../store/stats.ts'
import { addDurations } from './duration-metric.ts'
import { PREFIX } from './registry.ts'
import { addCounter, addGauge, type Reading } from './stats-metrics.ts'

export interface CacheSource {
  readonly name: string
  readonly itemsLimit: number
  readonly stats: CacheStats
  readonly getDurations: DurationHistogram
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

export function collectCaches(registry: Registry, caches: readonly CacheSource[]): void {
  const each = (read: (cache: CacheSource) => number) => () =>
    caches.map((cache) => ({ labels: { cache: cache.name }, value: read(cache) }))
  const byResult = (read: (cache: CacheSource) => Readonly<Record<string, number>>) => () =>
    caches.flatMap((cache) => readingsOf('result', read(cache), { cache: cache.name }))

  addCounter(registry, {
    name: 'gets_total',
    help: 'Gets by result; everything but a hit is a miss to the caller.',
    labelNames: ['cache', 'result'],
    read: byResult(({ stats }) => stats.gets),
  })
  addCounter(registry, {
    name: 'puts_total',
    help: 'Puts by result; everything but stored and replaced was refused.',
    labelNames: ['cache', 'result'],
    read: byResult(({ stats }) => stats.puts),
  })
  addCounter(registry, {
    name: 'replication_applied_total',
    help: 'Changes of other nodes by what became of them.',
    labelNames: ['cache', 'result'],
    read: byResult(({ stats }) => stats.applied),
  })
  addCounter(registry, {
    name: 'replication_refused_total',
    help: 'Changes of other nodes that were refused, by reason.',
    labelNames: ['cache', 'reason'],
    read: () =>
      caches.flatMap(({ name, stats }) =>
        readingsOf('reason', stats.peerRefusals, { cache: name }),
      ),
  })
  const counters: readonly [string, string, (cache: CacheSource) => number][] = [
    ['removes_total', 'Sessions taken out by callers.', ({ stats }) => stats.removes],
    ['evicted_total', 'Sessions pushed out by newer ones.', ({ stats }) => stats.evicted],
    ['expired_total', 'Sessions whose lifetime ended here.', ({ stats }) => stats.expired],
  ]
  for (const [name, help, read] of counters) {
    addCounter(registry, { name, help, labelNames: ['cache'], read: each(read) })
  }
  const gauges: readonly [string, string, (cache: CacheSource) => number][] = [
    ['items', 'Sessions held.', ({ stats }) => stats.items],
    ['items_limit', 'Most sessions held.', ({ itemsLimit }) => itemsLimit],
    ['stored_bytes', 'Bytes of the sessions held.', ({ stats }) => stats.storedBytes],
  ]
  for (const [name, help, read] of gauges) {
    addGauge(registry, { name, help, labelNames: ['cache'], read: each(read) })
  }
  addDurations({
    name: `${PREFIX}get_duration_seconds`,
    help: "How long gets took; over memcached's protocol with all commands that came together.",
    registry,
    read: () => caches.map(({ name, getDurations }) => seriesOf(getDurations, { cache: name })),
  })
}

export function collectSweeper(registry: Registry, durations: DurationHistogram): void {
  addDurations({
    name: `${PREFIX}sweep_duration_seconds`,
    help: 'How long the sweeper held the event loop at once.',
    registry,
    read: () => [seriesOf(durations, {})],
  })
}

export function collectReplication(registry: Registry, source: ReplicationSource): void {
  const { stats } = source
  addCounter(registry, {
    name: 'replication_datagrams_total',
    help: 'Datagrams sent, once per destination, and received.',
    labelNames: ['direction'],
    read: () => byDirection(stats.datagramsSent, stats.datagramsReceived),
  })
  addCounter(registry, {
    name: 'replication_entries_total',
    help: 'Changes sent, once for all peers, and received.',
    labelNames: ['direction'],
    read: () => byDirection(stats.entriesSent, stats.entriesReceived),
  })
  addCounter(registry, {
    name: 'replication_dropped_total',
    help: 'Datagrams that went no further, by reason.',
    labelNames: ['reason'],
    read: () => readingsOf('reason', stats.dropped, {}),
  })
  addCounter(registry, {
    name: 'replication_send_errors_total',
    help: 'Datagrams that the network refused to send.',
    read: () => [{ value: source.sendErrors() }],
  })
  addCounter(registry, {
    name: 'replication_lost_total',
    help: 'Datagrams of peers that never arrived.',
    read: () => [{ value: stats.lost }],
  })
  addCounter(registry, {
    name: 'replication_repaired_total',
    help: 'Datagrams of peers that arrived after they were asked for again.',
    read: () => [{ value: stats.repaired }],
  })
  addCounter(registry, {
    name: 'replication_duplicates_total',
    help: 'Datagrams that came once more because of repeaters.',
    read: () => [{ value: stats.duplicates }],
  })
  addCounter(registry, {
    name: 'replication_unknown_cache_total',
    help: 'Changes of other nodes for a cache that this node does not have.',
    read: () => [{ value: source.unknownCaches() }],
  })
  collectSync(registry, source)
  addDurations({
    name: `${PREFIX}replication_lag_seconds`,
    help: 'From sealing on a peer to arrival here, the difference of the clocks taken out.',
    registry,
    read: () => [seriesOf(stats.lag, {})],
  })
  addGauge(registry, {
    name: 'peer_up',
    help: '1 when the peer was heard within the last ten seconds.',
    labelNames: ['peer'],
    read: () => readPeers(source.peers()),
  })
  addGauge(registry, {
    name: 'key_age_seconds',
    help: 'Time since the keyring file was written.',
    read: () => {
      const value = source.keyAgeSec()
      return value === undefined ? [] : [{ value }]
    },
  })
}

function collectSync(registry: Registry, { sync, syncState }: ReplicationSource): void {
  addGauge(registry, {
    name: 'sync_state',
    help: '1 for where this node is with the copy of its peers; joining and syncing are not ready.',
    labelNames: ['state'],
    read: () => [{ labels: { state: syncState() }, value: 1 }],
  })
  addCounter(registry, {
    name: 'sync_total',
    help: 'Copies of a peer taken, and comparisons with one that this node began.',
    labelNames: ['kind'],
    read: () => readingsOf('kind', { snapshot: sync.snapshots, comparison: sync.comparisons }, {}),
  })
  addCounter(registry, {
    name: 'sync_entries_total',
    help: 'Entries sent and received over TCP.',
    labelNames: ['direction'],
    read: () => byDirection(sync.entriesSent, sync.entriesReceived),
  })
  addCounter(registry, {
    name: 'sync_failures_total',
    help: 'Connections over TCP that ended before their work was done, by reason.',
    labelNames: ['reason'],
    read: () => readingsOf('reason', sync.failures, {}),
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

function byDirection(sent: number, received: number): Reading[] {
  return [
    { labels: { direction: 'sent' }, value: sent },
    { labels: { direction: 'received' }, value: received },
  ]
}

function readingsOf(
  label: string,
  counts: Readonly<Record<string, number>>,
  labels: Readonly<Record<string, string>>,
): Reading[] {
  return Object.entries(counts).map(([name, value]) => ({
    labels: { ...labels, [label]: name },
    value,
  }))
}

function seriesOf(durations: DurationHistogram, labels: Readonly<Record<string, string>>) {
  return { labels, durations }
}
