// The problems of a node: what makes each one, what it says, and that its link leads to a section of the documentation.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { zeros } from '../../src/base/counters.ts'
import type { PeerStatus } from '../../src/replication/peers/presence.ts'
import { REPLICATION_COUNTERS } from '../../src/replication/stats.ts'
import type { SyncState } from '../../src/replication/sync/synchronizer.ts'
import { PROBLEM_CODES, type Problem, problemsOf } from '../../src/status/problems.ts'
import { NodeWatch } from '../../src/status/watch.ts'
import { CACHE_COUNTERS, isRefusal, PUT_RESULTS } from '../../src/store/stats.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { peerStatus } from '../support/peer-status.ts'

const ROOT = new URL('../../', import.meta.url)
const HEARD = peerStatus('edge-1', 1, {
  sync: { state: 'synced', hasFailed: false, lastSyncedMs: 1 },
})

interface Circumstances {
  readonly state?: SyncState
  readonly peers?: readonly PeerStatus[]
  readonly count?: (counters: ReturnType<typeof countersOf>) => void
}

function countersOf() {
  return { cache: zeros(CACHE_COUNTERS), replication: zeros(REPLICATION_COUNTERS), unknown: 0 }
}

/** The problems of a node with a cache `ssl`, which counted as `count` says since its start. */
function problemsIn({ state = 'synced', peers = [HEARD], count }: Circumstances): Problem[] {
  const counters = countersOf()
  const { cache, replication } = counters
  const caches = [{ name: 'ssl', stats: cache }]
  const unknownCaches = () => counters.unknown
  const watch = new NodeWatch({ caches, replication, unknownCaches }, new FakeClock())
  watch.start()
  count?.(counters)
  const sync = { state, peer: 'edge-1', lastSyncedMs: 12_000 }
  return problemsOf({ sync, peers, recent: watch.recent() })
}

/** Code, severity, subject, part of the sentence, and what leads there. */
const cases: readonly [Problem['code'], Problem['severity'], string, RegExp, Circumstances][] = [
  ['alone', 'error', '', /serves alone: no peer found; no session reaches/, { peers: [] }],
  [
    'alone',
    'error',
    '',
    /edge-1 has been silent for 42 s; no session/,
    { peers: [peerStatus('edge-1', 42)] },
  ],
  ['join_failed', 'error', '', /broke off/, { state: 'failed' }],
  ['not_compared', 'warning', '', /did not compare/, { state: 'alone' }],
  [
    'peer_silent',
    'error',
    'edge-2',
    /^edge-2 has been silent for 42 s: nothing is replicated to it$/,
    // The boot before the one that fell silent is in the list, too.
    { peers: [HEARD, peerStatus('edge-2', 90), peerStatus('edge-2', 42)] },
  ],
  [
    'peer_unanswered',
    'warning',
    '10.0.0.9:7171',
    /no node has ever answered at 10\.0\.0\.9:7171/,
    { peers: [HEARD, peerStatus('', undefined)] },
  ],
  [
    'peer_sync_failed',
    'warning',
    'edge-2',
    /comparing sessions with edge-2 failed/,
    {
      peers: [
        HEARD,
        peerStatus('edge-2', 1, { sync: { state: 'comparing', hasFailed: true, lastSyncedMs: 1 } }),
      ],
    },
  ],
  [
    'puts_refused',
    'error',
    'ssl',
    /ssl refused 2 puts in the last 10 minutes \(context\): their session ID context/,
    { count: ({ cache }) => Object.assign(cache.puts, { context: 2 }) },
  ],
  [
    'evicting',
    'warning',
    'ssl',
    /is full and evicted 1 session in/,
    { count: ({ cache }) => Object.assign(cache, { evicted: 1 }) },
  ],
  [
    'never_asked',
    'warning',
    'ssl',
    /100 sessions were put .* none was asked for/,
    { count: ({ cache }) => Object.assign(cache.puts, { stored: 100 }) },
  ],
  [
    'other_context',
    'warning',
    'ssl',
    /10 of 100 gets/,
    {
      count({ cache }) {
        cache.gets.context_mismatch = 10
        cache.gets.hit = 90
      },
    },
  ],
  [
    'datagrams_lost',
    'warning',
    '',
    /1 datagram with sessions never arrived/,
    { count: ({ replication }) => Object.assign(replication, { lost: 1 }) },
  ],
  [
    'other_keys',
    'warning',
    '',
    /5 datagrams came .* that no key/,
    {
      count({ replication }) {
        replication.dropped.unauthenticated = 2
        replication.dropped.throttled = 3
      },
    },
  ],
  [
    'queue_full',
    'warning',
    '',
    /found no room/,
    { count: ({ replication }) => Object.assign(replication.dropped, { queue_full: 1 }) },
  ],
  [
    'old_peer',
    'warning',
    '',
    /minimum_version/,
    { count: ({ replication }) => Object.assign(replication.dropped, { version: 1 }) },
  ],
  [
    'unknown_cache',
    'warning',
    '',
    /not configured here/,
    { count: (counters) => Object.assign(counters, { unknown: 1 }) },
  ],
]

for (const [code, severity, subject, sentence, circumstances] of cases) {
  test(`${code}: ${sentence}`, () => {
    const problems = problemsIn(circumstances)
    assert.deepEqual(
      problems.map((one) => [one.code, one.severity, one.subject]),
      [[code, severity, subject]],
    )
    assert.match(problems[0]?.sentence ?? '', sentence)
  })
}

test('each code has a case here, or is of ticket keys', () => {
  const ofTickets = ['no_ticket_key', 'ticket_keys_late', 'target_failing', 'target_behind']
  const known = [...cases.map(([code]) => code), ...ofTickets]
  assert.deepEqual(new Set(known), new Set(PROBLEM_CODES))
})

test('a healthy node has no problem, nor has one that has only just started', () => {
  const count = ({ cache }: ReturnType<typeof countersOf>) => {
    cache.puts.stored = 500
    cache.gets.hit = 400
    cache.gets.context_mismatch = 9
  }
  assert.deepEqual(problemsIn({ count }), [])
  assert.deepEqual(problemsIn({ state: 'joining', peers: [] }), [])
  assert.deepEqual(problemsIn({ state: 'syncing', peers: [peerStatus('', undefined)] }), [])
})

test('each reason for a refusal is said in words, and errors come before warnings', () => {
  const problems = problemsIn({
    count({ cache }) {
      for (const reason of PUT_RESULTS.filter(isRefusal)) cache.puts[reason] = 1
    },
  })
  assert.equal(problems.length, PUT_RESULTS.filter(isRefusal).length)
  for (const { sentence, remedy } of problems) {
    assert.match(sentence, /^the cache ssl refused 1 put in the last 10 minutes \(\w+\): \w+ \w+/)
    assert.ok(remedy.length > 10)
  }
  const severities = problems.map(({ severity }) => severity)
  assert.deepEqual(severities, severities.toSorted())
})

test('every link leads to a section that is there', () => {
  const links = new Set(cases.flatMap(([, , , , one]) => problemsIn(one).map(({ link }) => link)))
  for (const link of links) {
    const [page = '', section] = link.split('#')
    const headings = [...readFileSync(new URL(page, ROOT), 'utf8').matchAll(/^#+ (.+)$/gm)]
    const sections = headings.map(([, text = '']) => text.toLowerCase().replaceAll(' ', '-'))
    assert.ok(sections.includes(section ?? ''), link)
  }
})
