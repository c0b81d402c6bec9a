// The metrics: exactly those that are promised, with values out of the stats, and as Prometheus wants them.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Histogram, type Registry } from 'prom-client'
import { zeros } from '../../src/base/counters.ts'
import { DurationHistogram } from '../../src/base/histogram.ts'
import { collectProcess, createRegistry } from '../../src/base/metrics.ts'
import { HOOK_COUNTERS } from '../../src/hooks/stats.ts'
import { collectCaches, collectReplication, collectSweeper } from '../../src/node/metrics.ts'
import type { PeerStatus } from '../../src/replication/peers/presence.ts'
import { REPLICATION_COUNTERS } from '../../src/replication/stats.ts'
import { SYNC_COUNTERS } from '../../src/replication/sync/stats.ts'
import { CACHE_COUNTERS } from '../../src/store/stats.ts'
import { whyWithout } from '../support/programs.ts'

function peer(name: string, address: string, isUp: boolean, hasFailed?: boolean): PeerStatus {
  return {
    name,
    address,
    boot: undefined,
    isVerified: isUp,
    isUp,
    lastSeenMs: undefined,
    lagMs: undefined,
    clockDifferenceMs: undefined,
    lost: 0,
    repaired: 0,
    entriesSent: 0,
    entriesReceived: 0,
    role: 'node',
    sync: hasFailed === undefined ? undefined : { state: 'none', hasFailed, lastSyncedMs: 1 },
  }
}

function setUp() {
  const registry = createRegistry('1.2.3')
  const stats = zeros(CACHE_COUNTERS)
  const hookStats = zeros(HOOK_COUNTERS)
  const { getDurations } = hookStats
  const sweeps = new DurationHistogram()
  const replication = zeros(REPLICATION_COUNTERS)
  const peers = [
    peer('b', '1', false),
    peer('b', '2', true, false),
    peer('', '10.0.0.3:1', false),
    peer('c', '3', true, true),
    peer('d', '4', false, true),
  ]
  const state = { keyAgeSec: 60 as number | undefined }
  collectCaches(registry, [
    { limits: { name: 'ssl', items: 9 }, stats, hooks: { stats: hookStats } },
  ])
  collectSweeper(registry, sweeps)
  collectReplication(registry, {
    replicator: { stats: replication, peers: () => peers },
    sync: { stats: zeros(SYNC_COUNTERS), synchronizer: { status: { state: 'synced' } } },
    transport: { stats: { sendErrors: 3 } },
    unknownCaches: 2,
    keys: { ageSec: () => state.keyAgeSec },
  })
  return { registry, stats, getDurations, sweeps, replication, state }
}

/** The samples, as `name{labels}` and their value. */
async function samplesOf(registry: Registry): Promise<Map<string, number>> {
  const lines = (await registry.metrics()).split('\n')
  const samples = lines.filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(
    samples.map((line) => {
      const at = line.lastIndexOf(' ')
      return [line.slice(0, at), Number(line.slice(at + 1))]
    }),
  )
}

test('there are these metrics and no others', async () => {
  const lines = (await setUp().registry.metrics()).split('\n')
  const types = lines.filter((line) => line.startsWith('# TYPE tlscached_'))
  assert.deepEqual(types.map((line) => line.slice('# TYPE tlscached_'.length)).sort(), [
    'build_info gauge',
    'evicted_total counter',
    'expired_total counter',
    'get_duration_seconds histogram',
    'gets_total counter',
    'items gauge',
    'items_limit gauge',
    'key_age_seconds gauge',
    'peer_sync_failed gauge',
    'peer_up gauge',
    'puts_total counter',
    'removes_total counter',
    'replication_applied_total counter',
    'replication_datagrams_total counter',
    'replication_dropped_total counter',
    'replication_duplicates_total counter',
    'replication_entries_total counter',
    'replication_lag_seconds histogram',
    'replication_lost_total counter',
    'replication_refused_total counter',
    'replication_repaired_total counter',
    'replication_send_errors_total counter',
    'replication_unknown_cache_total counter',
    'stored_bytes gauge',
    'sweep_duration_seconds histogram',
    'sync_entries_total counter',
    'sync_failures_total counter',
    'sync_state gauge',
    'sync_total counter',
    'ticket_swaps_total counter',
  ])
})

test('values are those of the stats at each scrape', async () => {
  const { registry, stats, replication } = setUp()
  stats.gets.hit = 3
  stats.puts.early_data = 1
  stats.items = 2
  stats.storedBytes = 300
  replication.dropped.replay = 4
  replication.entriesSent = 5
  const first = await samplesOf(registry)
  assert.equal(first.get('tlscached_gets_total{cache="ssl",result="hit"}'), 3)
  assert.equal(first.get('tlscached_gets_total{cache="ssl",result="context_mismatch"}'), 0)
  assert.equal(first.get('tlscached_puts_total{cache="ssl",result="early_data"}'), 1)
  assert.equal(first.get('tlscached_items{cache="ssl"}'), 2)
  assert.equal(first.get('tlscached_items_limit{cache="ssl"}'), 9)
  assert.equal(first.get('tlscached_stored_bytes{cache="ssl"}'), 300)
  assert.equal(first.get('tlscached_replication_dropped_total{reason="replay"}'), 4)
  assert.equal(first.get('tlscached_replication_entries_total{direction="sent"}'), 5)
  assert.equal(first.get('tlscached_replication_send_errors_total'), 3)
  assert.equal(first.get('tlscached_replication_unknown_cache_total'), 2)
  stats.gets.hit = 4
  stats.items = 1
  const second = await samplesOf(registry)
  assert.equal(second.get('tlscached_gets_total{cache="ssl",result="hit"}'), 4)
  assert.equal(second.get('tlscached_items{cache="ssl"}'), 1)
})

test('durations are cumulated buckets, with their sum and count in seconds', async () => {
  const { registry, getDurations } = setUp()
  for (const durationMs of [0.0005, 0.0015, 3, 10_000]) getDurations.observe(durationMs)
  const samples = await samplesOf(registry)
  const bucket = (le: string) =>
    samples.get(`tlscached_get_duration_seconds_bucket{cache="ssl",le="${le}"}`)
  assert.deepEqual(
    ['0.000001', '0.000002', '0.002', '0.005', '2.5', '+Inf'].map(bucket),
    [1, 2, 2, 3, 3, 4],
  )
  assert.equal(samples.get('tlscached_get_duration_seconds_count{cache="ssl"}'), 4)
  assert.equal(samples.get('tlscached_get_duration_seconds_sum{cache="ssl"}'), 10.003_002)
})

test('durations are scraped without what prom-client keeps for itself', async (t) => {
  const { registry, sweeps } = setUp()
  sweeps.observe(1)
  const before = await registry.metrics()
  const { prototype } = Histogram
  const property = Object.getOwnPropertyDescriptor(prototype, 'getForPromString')
  assert.ok(property !== undefined && Reflect.deleteProperty(prototype, 'getForPromString'))
  t.after(() => Object.defineProperty(prototype, 'getForPromString', property))
  assert.equal(await registry.metrics(), before)
  assert.match(before, /^tlscached_sweep_duration_seconds_count 1$/m)
  const json = await registry.getMetricsAsJSON()
  const { type } = json.find(({ name }) => name === 'tlscached_sweep_duration_seconds') ?? {}
  assert.equal(type, 'histogram')
})

test('a peer that started again is up when its new start is; one without a name has its address', async () => {
  const samples = await samplesOf(setUp().registry)
  assert.equal(samples.get('tlscached_peer_up{peer="b"}'), 1)
  assert.equal(samples.get('tlscached_peer_up{peer="10.0.0.3:1"}'), 0)
})

test('a copy or comparison counts as failed while its peer is heard', async () => {
  const samples = [...(await samplesOf(setUp().registry))]
  assert.deepEqual(
    samples.filter(([name]) => name.startsWith('tlscached_peer_sync_failed')),
    [
      ['tlscached_peer_sync_failed{peer="b"}', 0],
      ['tlscached_peer_sync_failed{peer="c"}', 1],
    ],
  )
})

test('without a file of keys there is no age of keys', async () => {
  const { registry, state } = setUp()
  assert.equal((await samplesOf(registry)).get('tlscached_key_age_seconds'), 60)
  state.keyAgeSec = undefined
  assert.equal((await samplesOf(registry)).has('tlscached_key_age_seconds'), false)
})

test('two nodes in one process have nothing in common', async () => {
  const [a, b] = [setUp(), setUp()]
  a.stats.removes = 1
  assert.equal((await samplesOf(b.registry)).get('tlscached_removes_total{cache="ssl"}'), 0)
})

describe('promtool', { skip: whyWithout('promtool') }, () => {
  test('has no complaint', async () => {
    const { registry, getDurations } = setUp()
    collectProcess(registry)
    getDurations.observe(1)
    const input = await registry.metrics()
    assert.match(input, /^process_cpu_seconds_total /m)
    const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], { input })
    assert.deepEqual([status, stdout.toString(), stderr.toString()], [0, '', ''])
  })

  test('takes the example and its alerts', () => {
    const example = new URL('../../deploy/prometheus/prometheus.yml', import.meta.url)
    const { status, stdout } = spawnSync('promtool', ['check', 'config', fileURLToPath(example)])
    assert.equal(status, 0, stdout.toString())
    assert.match(stdout.toString(), /\d rules found/)
  })
})
