// The summary of a node: what it holds, its bounds, and what a peer takes for one.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { zeros } from '../../src/base/counters.ts'
import { REPLICATION_COUNTERS } from '../../src/replication/stats.ts'
import {
  decodeSummary,
  encodeSummary,
  MAX_SUMMARY_CACHES,
  MAX_SUMMARY_PEERS,
  MAX_SUMMARY_PROBLEMS,
  summarize,
} from '../../src/status/summary.ts'
import { NodeWatch, SAMPLE_PERIOD_MS } from '../../src/status/watch.ts'
import { CACHE_COUNTERS } from '../../src/store/stats.ts'
import { MAX_SUMMARY_BYTES } from '../../src/wire/sync-message.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { peerStatus } from '../support/peer-status.ts'

function summaryOf(caches: number, peers: number, textOf = (text: string) => text) {
  const clock = new FakeClock()
  const named = Array.from({ length: caches }, (_, index) => ({
    limits: {
      name: `cache-${index}`.padEnd(63, 'x'),
      items: 16_777_216,
      keysize: 255,
      blocksize: 65_536,
      timeoutMs: 604_800_000,
      full: 'refuse' as const,
    },
    singleUse: false,
    stats: zeros(CACHE_COUNTERS),
  }))
  const replication = zeros(REPLICATION_COUNTERS)
  const watch = new NodeWatch(
    {
      caches: named.map(({ limits: { name }, stats }) => ({ name, stats })),
      replication,
      unknownCaches: () => 0,
    },
    clock,
  )
  watch.start()
  for (let sample = 0; sample < 400; sample += 1) {
    for (const { stats } of named) stats.gets.hit += 100_000_000 / caches
    clock.advance(SAMPLE_PERIOD_MS)
  }
  return summarize({
    nodeName: textOf('a'),
    boot: '00'.repeat(16),
    release: '1.2.3',
    readiness: { isReady: true, isStrictlyReady: true, reason: 'replicating with b' },
    caches: named,
    peers: [
      peerStatus('b', 1),
      ...Array.from({ length: peers - 1 }, (_, index) =>
        peerStatus(textOf(`edge-${index}`), 123_456, {
          address: `${textOf('host')}:65535`,
          boot: 'ff'.repeat(16),
          lost: 2 ** 40,
          repaired: 2 ** 40,
          lagMs: 3_600_000,
          sync: { state: 'comparing', hasFailed: false, lastSyncedMs: 3_600_000 },
        }),
      ),
    ],
    sync: { state: 'synced', peer: 'b', lastSyncedMs: 1 },
    watch,
    tickets: undefined,
  })
}

test('a summary comes back as it was, and has neither contexts nor sizes of IDs', () => {
  const summary = summaryOf(1, 3)
  const bytes = encodeSummary(summary)
  assert.deepEqual(decodeSummary(bytes), summary)
  assert.equal(summary.rates.gets.length, 360)
  assert.deepEqual(
    summary.problems.map(({ code, subject }) => [code, subject]),
    [
      ['peer_silent', 'edge-0'],
      ['peer_silent', 'edge-1'],
    ],
  )
  assert.doesNotMatch(bytes.toString(), /context_hex|contexts/)
})

test('lists are cut and counted, and the largest summary of ordinary names is below the limit', () => {
  const summary = summaryOf(40, 300, (text) => text.padEnd(255, 'n'))
  const { caches, more_caches, peers, more_peers, problems, more_problems } = summary
  assert.deepEqual([caches.length, more_caches], [MAX_SUMMARY_CACHES, 8])
  assert.deepEqual([peers.length, more_peers], [MAX_SUMMARY_PEERS, 172])
  assert.deepEqual([problems.length, more_problems], [MAX_SUMMARY_PROBLEMS, 299 - 32])
  const bytes = encodeSummary(summary)
  assert.ok(bytes.length < MAX_SUMMARY_BYTES, `${bytes.length} bytes`)
  assert.deepEqual(decodeSummary(bytes), summary)
})

test('names of control characters, which JSON makes six times as long, cost the lists', () => {
  const summary = summaryOf(1, 300, (text) => text.padEnd(255, '\u0001'))
  const bytes = encodeSummary(summary)
  assert.ok(bytes.length < MAX_SUMMARY_BYTES)
  const told = decodeSummary(bytes)
  assert.deepEqual([told?.peers, told?.more_peers, told?.problems], [[], 300, []])
})

test('bytes that are no summary are refused; fields of a later release are skipped', () => {
  const summary = summaryOf(1, 1)
  const changed = (change: object) => Buffer.from(JSON.stringify({ ...summary, ...change }))
  assert.deepEqual(decodeSummary(changed({ later: [1] })), summary)
  const wrong = [
    Buffer.alloc(0),
    Buffer.from('{'),
    Buffer.from('[]'),
    Buffer.from('['.repeat(200_000)),
    Buffer.alloc(MAX_SUMMARY_BYTES + 1, ' '),
    changed({ node: 7 }),
    changed({ node: 'n'.repeat(256) }),
    changed({ uptime_ms: -1 }),
    changed({ peers: Array.from({ length: MAX_SUMMARY_PEERS + 1 }, () => summary.peers[0]) }),
    changed({ rates: { ...summary.rates, gets: Array.from({ length: 361 }, () => 0) } }),
    changed({ caches: [{ ...summary.caches[0], gets: { hit: 'many' } }] }),
    changed({ problems: [{ code: 'alone', severity: 'fatal' }] }),
  ]
  for (const bytes of wrong) assert.equal(decodeSummary(bytes), undefined)
})
