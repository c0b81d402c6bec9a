// What the page makes of whole documents and of changes: nothing is lost, nothing is shown that is not known.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type ClusterDocument,
  type ClusterNode,
  hitRatios,
  KEPT_SAMPLES,
  problemsOf,
  ratePerSec,
  type Summary,
  withChange,
} from '../../src/page/cluster-state.ts'
import { duration, percent, refusal, shortNumber } from '../../src/page/words.ts'
import { PUT_RESULTS } from '../../src/store/stats.ts'

/** A summary whose gets are the numbers of its samples, of which the last `told` are there. */
function summaryOf(last: number, told: number, problems: Summary['problems'] = []): Summary {
  const samples = Array.from({ length: told }, (_, index) => last - told + index + 1)
  const none = samples.map(() => 0)
  return {
    node: 'a',
    boot: '0a',
    release: '1.2.3',
    uptime_ms: 1,
    ready: true,
    strictly_ready: true,
    reason: 'replicating',
    caches: [],
    more_caches: 0,
    peers: [],
    more_peers: 0,
    problems,
    more_problems: 0,
    rates: {
      period_ms: 10_000,
      last,
      age_ms: 0,
      gets: samples,
      hits: none,
      puts: none,
      refused: none,
      evicted: none,
      received: none,
    },
    tickets: null,
  }
}

function nodeOf(node: string, summary: Summary | null, more: Partial<ClusterNode> = {}) {
  return { node, boot: node, state: 'told', age_ms: 0, summary, ...more } satisfies ClusterNode
}

function documentOf(...nodes: ClusterNode[]): ClusterDocument {
  return { node: 'a', nodes }
}

test('samples of a change are added once, and only an hour is kept', () => {
  let document = documentOf(nodeOf('a', summaryOf(400, KEPT_SAMPLES)))
  for (const last of [400, 401, 401, 403]) {
    const next = withChange(document, documentOf(nodeOf('a', summaryOf(last, 2))))
    assert.ok(next.isWhole)
    document = next.document
  }
  const { gets = [] } = document.nodes[0]?.summary?.rates ?? {}
  assert.deepEqual([gets.length, gets[0], gets.at(-1)], [KEPT_SAMPLES, 44, 403])
})

test('a change with a gap before it, or of a boot that is new, asks for the whole document', () => {
  const known = documentOf(nodeOf('a', summaryOf(400, KEPT_SAMPLES)))
  const isWhole = (...nodes: ClusterNode[]) => withChange(known, documentOf(...nodes)).isWhole
  assert.equal(isWhole(nodeOf('a', summaryOf(403, 2))), false)
  assert.equal(isWhole(nodeOf('a', summaryOf(3, 2), { boot: 'other' })), false)
  assert.equal(isWhole(nodeOf('a', null), nodeOf('b', null, { age_ms: 5 })), false)
  assert.equal(isWhole(nodeOf('a', summaryOf(2, 2), { boot: 'other' })), true)
  assert.equal(isWhole(nodeOf('a', null), nodeOf('b', null, { age_ms: null })), true)
})

test('a node that says nothing new keeps its summary, a silent one too', () => {
  const known = documentOf(nodeOf('a', summaryOf(1, 1)), nodeOf('b', summaryOf(7, 7)))
  const { document } = withChange(
    known,
    documentOf(nodeOf('a', null), nodeOf('b', null, { boot: null, state: 'silent', age_ms: 9 })),
  )
  assert.deepEqual(
    document.nodes.map(({ state, age_ms, summary }) => [state, age_ms, summary?.rates.last]),
    [
      ['told', 0, 1],
      ['silent', 9, 7],
    ],
  )
})

test('what several nodes say is one problem, errors come first, silent nodes say nothing', () => {
  const problem = (code: string, severity: 'error' | 'warning', sentence: string) => ({
    code,
    severity,
    subject: 'ssl',
    sentence,
    remedy: code,
    link: 'x#y',
  })
  const evicting = (count: number) => problem('evicting', 'warning', `evicted ${count}`)
  const problems = problemsOf(
    documentOf(
      nodeOf('a', summaryOf(1, 1, [evicting(1)])),
      nodeOf('b', summaryOf(1, 1, [problem('puts_refused', 'error', 'refused 2'), evicting(3)])),
      nodeOf('c', summaryOf(1, 1, [evicting(9)]), { state: 'silent' }),
    ),
  )
  assert.deepEqual(
    problems.map(({ code, said }) => [code, said.map((one) => `${one.node} ${one.sentence}`)]),
    [
      ['puts_refused', ['b refused 2']],
      ['evicting', ['a evicted 1', 'b evicted 3']],
    ],
  )
})

test('rates are the sum of the nodes that have a sample, and a ratio without gets is none', () => {
  const [long, short] = [summaryOf(40, 40), summaryOf(10, 1)]
  const rates = ratePerSec([long, short], 'gets')
  assert.deepEqual([rates.length, rates.at(-1), rates.at(-2), rates[0]], [360, 5, 3.9, undefined])
  assert.deepEqual([hitRatios([long]).at(-1), hitRatios([long])[0]], [0, undefined])
  assert.equal(hitRatios([summaryOf(0, 1)]).at(-1), undefined)
})

test('numbers are short, and what is not all does not look like all', () => {
  const shown = [0, 0.44, 7, 99.96, 999, 1000, 12_345, 4_100_000].map(shortNumber)
  assert.deepEqual(shown, ['0', '0.4', '7', '100', '999', '1k', '12.3k', '4.1M'])
  const shares = [0, 0.0001, 0.5, 0.99999, 1].map(percent)
  assert.deepEqual(shares, ['0 %', '< 0.1 %', '50 %', '99.9 %', '100 %'])
  const durations = [-5, 42_000, 119_400, 3_000_000, 36_000_000, 400_000_000].map(duration)
  assert.deepEqual(durations, ['0 s', '42 s', '119 s', '50 min', '10 h', '4 days'])
})

test('each reason for a refusal has words, and a later one does not hurt', () => {
  for (const reason of PUT_RESULTS.slice(2)) assert.notEqual(refusal(reason), reason)
  assert.equal(refusal('of_tomorrow'), 'of tomorrow')
})
