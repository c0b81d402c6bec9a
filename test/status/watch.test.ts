// The samples of a node's counters: one hour of rates, ten minutes in which problems are looked for.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { zeros } from '../../src/base/counters.ts'
import { REPLICATION_COUNTERS } from '../../src/replication/stats.ts'
import { CounterHistory } from '../../src/status/counter-history.ts'
import {
  NodeWatch,
  RATE_NAMES,
  RATE_SAMPLES,
  RECENT_SAMPLES,
  SAMPLE_PERIOD_MS,
} from '../../src/status/watch.ts'
import { CACHE_COUNTERS } from '../../src/store/stats.ts'
import { FakeClock } from '../support/fake-clock.ts'

function setUp() {
  const clock = new FakeClock()
  const ssl = zeros(CACHE_COUNTERS)
  const mail = zeros(CACHE_COUNTERS)
  const replication = zeros(REPLICATION_COUNTERS)
  const caches = [
    { name: 'ssl', stats: ssl },
    { name: 'mail', stats: mail },
  ]
  const watch = new NodeWatch({ caches, replication, unknownCaches: () => 3 }, clock)
  return { clock, ssl, mail, replication, watch }
}

test('a history tells growths across the end of the ring and past 2^32', () => {
  const history = new CounterHistory(2, 3)
  assert.deepEqual([history.periods, history.growths(0), history.growthSince(0, 9)], [0, [], 0])
  history.take([2 ** 32 - 2, 0])
  history.take([2 ** 32 + 1, 5])
  assert.deepEqual([history.growths(0), history.growths(1)], [[3], [5]])
  for (const count of [6, 8, 11]) history.take([2 ** 32 + count, 5])
  assert.deepEqual([history.taken, history.periods], [5, 3])
  assert.deepEqual(history.growths(0), [5, 2, 3])
  assert.deepEqual(history.growths(0, 1), [3])
  assert.equal(history.growthSince(0, 2 ** 32 + 21), 20)
  assert.deepEqual(history.growths(1), [0, 0, 0])
})

test('rates are the counts of all caches within ten seconds each', () => {
  const { clock, ssl, mail, replication, watch } = setUp()
  ssl.gets.hit = 100
  watch.start()
  ssl.gets.hit += 3
  ssl.gets.miss += 2
  mail.gets.expired += 1
  mail.gets.context_mismatch += 1
  mail.puts.stored += 4
  ssl.puts.replaced += 1
  ssl.puts.context += 2
  ssl.puts.full += 1
  ssl.evicted += 6
  replication.entriesReceived += 8
  clock.advance(SAMPLE_PERIOD_MS)
  clock.advance(4000)
  assert.deepEqual(watch.rates(), {
    period_ms: 10_000,
    last: 1,
    age_ms: 4000,
    gets: [7],
    hits: [3],
    puts: [5],
    refused: [3],
    evicted: [6],
    received: [8],
  })
  assert.equal(watch.uptimeMs, 14_000)
})

test('an hour is kept, whatever the time that a node runs, and nothing runs after the stop', () => {
  const { clock, ssl, watch } = setUp()
  watch.start()
  for (let sample = 1; sample <= RATE_SAMPLES + 100; sample += 1) {
    ssl.gets.miss += sample
    clock.advance(SAMPLE_PERIOD_MS)
  }
  const { last, ...rates } = watch.rates()
  assert.equal(last, RATE_SAMPLES + 100)
  for (const name of RATE_NAMES) assert.equal(rates[name].length, RATE_SAMPLES)
  assert.deepEqual([rates.gets.at(0), rates.gets.at(-1)], [101, RATE_SAMPLES + 100])
  assert.deepEqual(watch.rates(2).gets, [RATE_SAMPLES + 99, RATE_SAMPLES + 100])
  watch.stop()
  assert.equal(clock.pendingCount, 0)
})

test('what grew within ten minutes is told at once, and forgotten after them', () => {
  const { clock, ssl, mail, replication, watch } = setUp()
  ssl.puts.blocksize = 50
  watch.start()
  mail.puts.blocksize += 2
  mail.gets.context_mismatch += 1
  replication.dropped.unauthenticated += 5
  replication.lost += 7
  const recent = watch.recent()
  assert.deepEqual(
    recent.caches.map(({ name, refused, contextMismatches, gets }) => [
      name,
      refused.blocksize,
      contextMismatches,
      gets,
    ]),
    [
      ['ssl', 0, 0, 0],
      ['mail', 2, 1, 1],
    ],
  )
  assert.deepEqual([recent.dropped.unauthenticated, recent.lost], [5, 7])
  clock.advance(RECENT_SAMPLES * SAMPLE_PERIOD_MS)
  assert.equal(watch.recent().caches[1]?.refused.blocksize, 2)
  clock.advance(SAMPLE_PERIOD_MS)
  assert.equal(watch.recent().caches[1]?.refused.blocksize, 0)
  assert.equal(watch.recent().lost, 0)
})
