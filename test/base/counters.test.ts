// A counter is declared in one place: its zero, its JSON and its metric follow.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  by,
  type CountsOf,
  counter,
  type Declaration,
  durations,
  gauge,
  histogram,
  one,
  toJson,
  zeros,
} from '../../src/base/counters.ts'
import { addCounters, addMetric, createRegistry } from '../../src/base/metrics.ts'
import { REPLICATION_COUNTERS } from '../../src/replication/stats.ts'

const CALLS = counter('calls_total', 'Calls.', 'cache')
const COUNTERS = {
  callsSent: one(CALLS, { direction: 'sent' }),
  callsReceived: one(CALLS, { direction: 'received' }),
  refused: by('reason', { late: 'too late', long: 'too long' }, counter('refused_total', 'No.')),
  kept: one(),
  byVersion: { old: one(gauge('old', 'Old.'), { name: '' }), new: one() },
  waits: durations(histogram('wait_seconds', 'Waits.')),
}

async function metricsOf(declaration: Declaration, ...all: readonly CountsOf<Declaration>[]) {
  const registry = createRegistry('')
  addCounters(registry, [declaration], () =>
    all.map((counts) => ({ declaration, counts, labels: { cache: 'ssl' } })),
  )
  const lines = (await registry.metrics()).split('\n')
  return lines.filter((line) => !line.startsWith('#') && !/^$|build_info|bucket/.test(line))
}

test('zeros, JSON and metrics have every field in its order', async () => {
  const counts = zeros(COUNTERS)
  counts.callsReceived += 2
  counts.refused.long += 1
  counts.waits.observe(500)
  assert.deepEqual(Object.entries(toJson(counts)), [
    ['calls_sent', 0],
    ['calls_received', 2],
    ['refused', { late: 0, long: 1 }],
    ['kept', 0],
    ['by_version', { old: 0, new: 0 }],
  ])
  assert.deepEqual(await metricsOf(COUNTERS, counts), [
    'tlscached_calls_total{cache="ssl",direction="sent"} 0',
    'tlscached_calls_total{cache="ssl",direction="received"} 2',
    'tlscached_refused_total{cache="ssl",reason="late"} 0',
    'tlscached_refused_total{cache="ssl",reason="long"} 1',
    'tlscached_old{cache="ssl",name="old"} 0',
    'tlscached_wait_seconds_sum{cache="ssl"} 0.5',
    'tlscached_wait_seconds_count{cache="ssl"} 1',
  ])
})

test('two objects of counts share nothing; in the metrics, equal labels are added up', async () => {
  const [a, b] = [zeros(COUNTERS), zeros(COUNTERS)]
  a.refused.late = 1
  a.callsSent = 3
  a.waits.observe(1)
  assert.deepEqual([b.refused.late, b.callsSent, b.waits.count], [0, 0, 0])
  b.refused.late = 4
  b.waits.observe(1)
  const metrics = await metricsOf(COUNTERS, a, b)
  assert.ok(metrics.includes('tlscached_refused_total{cache="ssl",reason="late"} 5'))
  assert.ok(metrics.includes('tlscached_wait_seconds_count{cache="ssl"} 2'))
})

test('a gauge that nothing was read for has no sample', async () => {
  const registry = createRegistry('')
  addMetric(registry, gauge('age_seconds', 'Age.'), () => [])
  assert.match(await registry.metrics(), /# TYPE tlscached_age_seconds gauge\n$/)
})

test('one more reason in a declaration is in the zeros, the JSON and the metrics', async () => {
  const { dropped } = REPLICATION_COUNTERS
  const declaration = {
    ...REPLICATION_COUNTERS,
    dropped: { ...dropped, values: { ...dropped.values, sunspots: 'the sun was too active' } },
  }
  const before = zeros(REPLICATION_COUNTERS)
  const counts = zeros(declaration)
  assert.deepEqual(counts.dropped, { ...before.dropped, sunspots: 0 })
  assert.deepEqual(toJson(counts), { ...toJson(before), dropped: counts.dropped })
  const added = 'tlscached_replication_dropped_total{cache="ssl",reason="sunspots"} 0'
  const metrics = await metricsOf(declaration, counts)
  assert.deepEqual(
    metrics.filter((line) => line !== added),
    await metricsOf(REPLICATION_COUNTERS, before),
  )
  assert.ok(metrics.includes(added))
})
