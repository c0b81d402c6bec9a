// What `tlscached top` shows, and that a terminal alone gets progress and screens.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatTable } from '../../src/cli/stats.ts'
import { Progress, printable, Screen, wrapped } from '../../src/cli/terminal.ts'
import { type TopCluster, topLines } from '../../src/cli/top-lines.ts'
import type { Summary } from '../../src/status/summary.ts'

const NONE: number[] = []

function summaryOf(node: string, more: Partial<Summary> = {}): Summary {
  return {
    ...{ node, boot: '00'.repeat(8), release: '0.1.0', uptime_ms: 7_400_000 },
    ...{ ready: true, strictly_ready: true, reason: 'replicating' },
    caches: [
      {
        ...{ name: 'ssl', items: 750, items_limit: 1000, stored_bytes: 3 * 1024 ** 2 },
        ...{ memory_limit_bytes: null, timeout_ms: 300_000, full: 'evict' },
        ...{ gets: {}, puts: {}, evicted: 0, expired: 0 },
        recent: {
          ...{ stored: 10, gets: 200, hits: 150, context_mismatches: 0, evicted: 4 },
          refused: { context: 2, full: 1 },
        },
      },
    ],
    more_caches: 0,
    peers: [
      {
        ...{ role: 'node', name: 'edge-2', address: '10.0.0.2:7171', boot: null, up: false },
        ...{ last_seen_ms: 42_300, lag_ms: 0.25, lost: 3, repaired: 9 },
        sync: { state: 'synced', last_synced_ms: 61_000 },
      },
    ],
    more_peers: 0,
    problems: [],
    more_problems: 0,
    rates: {
      ...{ period_ms: 10_000, last: 8, age_ms: 100 },
      gets: [0, 0, 500, 1000, 1000, 1000, 1000, 1000],
      hits: [0, 0, 500, 900, 900, 900, 900, 900],
      ...{ puts: [10], refused: NONE, evicted: NONE, received: NONE },
    },
    tickets: null,
    ...more,
  }
}

function cells(line = ''): readonly string[] {
  return line.trim().split(/ {2,}/)
}

function after(lines: readonly string[], head: string): readonly string[] {
  return cells(lines[lines.findIndex((line) => line.startsWith(head)) + 1])
}

const HERE: TopCluster = {
  node: 'edge-1',
  nodes: [{ node: 'edge-1', state: 'self', summary: summaryOf('edge-1') }],
}

test('a row for a node, a cache and a peer', () => {
  const lines = topLines(HERE)
  assert.equal(lines[0], 'no problem is known')
  const node = ['edge-1', 'here', 'yes', '2h', '91.7', '90.9 %', '1.0', '-', '-']
  assert.deepEqual(after(lines, 'NODE'), [...node, '▁▁▅█████'])
  const cache = ['ssl', 'edge-1', '750', '1000', '75.0 %', '3.0', '75.0 %', '3', '4']
  assert.deepEqual(after(lines, 'CACHE'), cache)
  const peer = ['edge-1', 'edge-2', 'no', '42s', '0.3 ms', '3', '9', 'synced 1m']
  assert.deepEqual(after(lines, 'AT'), peer)
})

test('problems come first, errors before warnings, and what two nodes say is said once', () => {
  const problem = (severity: 'error' | 'warning', sentence: string) => ({
    ...{ code: 'x', severity, subject: '', sentence, remedy: `mend ${sentence}`, link: '' },
  })
  const both = problem('error', 'keys differ')
  const cluster: TopCluster = {
    node: 'a',
    nodes: [
      {
        node: 'a',
        state: 'self',
        summary: summaryOf('a', { problems: [problem('warning', 'full'), both] }),
      },
      { node: 'b', state: 'told', summary: summaryOf('b', { problems: [both] }) },
    ],
  }
  assert.deepEqual(topLines(cluster).slice(0, 5), [
    'ERROR a, b: keys differ',
    '    -> mend keys differ',
    'WARNING a: full',
    '    -> mend full',
    '',
  ])
})

test('a node that is silent has a row, and one node can be shown alone', () => {
  const cluster = {
    ...HERE,
    nodes: [...HERE.nodes, { node: 'edge-2', state: 'silent', summary: null }],
  }
  const row = topLines(cluster).find((line) => line.startsWith('edge-2'))
  assert.deepEqual(cells(row).slice(0, 3), ['edge-2', 'silent', '-'])
  assert.ok(topLines(cluster, 'edge-2').every((line) => !line.includes('edge-1')))
})

function recorded(isTTY: boolean) {
  const written: string[] = []
  return {
    text: () => written.join(''),
    terminal: { isTTY, columns: 20, rows: 2, write: (text: string) => written.push(text) },
  }
}

test('a pipe gets no progress at all', () => {
  const { text, terminal } = recorded(false)
  const progress = new Progress(terminal)
  progress.show('working', 1, 2)
  progress.clear()
  assert.equal(text(), '')
})

test('a terminal gets ten lines of progress a second at most, the last one always, and then none', () => {
  const { text, terminal } = recorded(true)
  let nowMs = 0
  const progress = new Progress(terminal, () => nowMs)
  for (let done = 1; done <= 100; done += 1) {
    nowMs += 10
    progress.show('done:', done, 100)
  }
  assert.equal(text().split('done:').length - 1, 11)
  assert.match(text(), /done: 100 of 100$/)
  progress.clear()
  assert.ok(text().endsWith('\r\u001b[K'))
})

test('progress and screens are no longer than the terminal, and no name moves the cursor', () => {
  const { text, terminal } = recorded(true)
  new Progress(terminal).show('x'.repeat(100))
  assert.equal(text().split('x').length - 1, 19)
  const screen = recorded(true)
  new Screen(screen.terminal).draw(['a\u001b[2Jb', 'y'.repeat(50), 'third'])
  assert.ok(screen.text().includes('a?[2Jb'))
  assert.equal(screen.text().split('y').length - 1, 20)
  assert.ok(!screen.text().includes('third'))
  assert.equal(printable('edge-1\n\u009b'), 'edge-1??')
})

test('a line that is too long for the terminal is broken at spaces, and keeps its indent', () => {
  const text = 'ERROR edge-1: the cache ssl refused 3 puts'
  assert.deepEqual(wrapped(text, 24, 4), ['ERROR edge-1: the cache', '    ssl refused 3 puts'])
  assert.deepEqual(wrapped(text, undefined, 4), [text])
  assert.deepEqual(wrapped('    /a/long/path of one', 12, 4), ['    /a/long/path of one'])
  assert.deepEqual(wrapped('', 10, 4), [''])
})

test('on a narrow terminal sentences are broken, and a chart that has no room is left out', () => {
  const severity = 'error' as const
  const sentence = `it ${'is wrong and '.repeat(8)}bad`
  const problem = { code: 'alone', severity, subject: '', sentence, remedy: 'mend', link: 'x' }
  const summary = summaryOf('edge-1', { problems: [problem] })
  const cluster: TopCluster = { ...HERE, nodes: [{ node: 'edge-1', state: 'self', summary }] }
  const lines = topLines(cluster, undefined, 80)
  assert.deepEqual(
    lines.filter(({ length }) => length > 80),
    [],
  )
  assert.ok(lines.some((line) => line.endsWith('bad')))
  assert.equal(lines.join('\n').includes('GETS OF 5 MINUTES'), false)
  assert.ok(topLines(cluster, undefined, 120).join('\n').includes('GETS OF 5 MINUTES'))
})

test('a table that is wider than the terminal is turned, with as many columns as fit', () => {
  const head = ['peer', 'address', 'state', 'repaired']
  const rows = [1, 2, 3].map((number) => [
    `edge-${number}`,
    `10.0.0.${number}:7171`,
    'up',
    'nothing',
  ])
  const wide = formatTable(head, rows, 80)
  assert.equal(wide, formatTable(head, rows))
  const turned = formatTable(head, rows, 44).split('\n')
  assert.ok(turned.every(({ length }) => length <= 44))
  const cellsOf = (line = '') => line.split('│').map((cell) => cell.trim())
  assert.deepEqual(
    turned.filter((line) => line.startsWith('│')).map((line) => cellsOf(line).slice(1, -1)),
    [
      ['peer', 'edge-1', 'edge-2'],
      ['address', '10.0.0.1:7171', '10.0.0.2:7171'],
      ['state', 'up', 'up'],
      ['repaired', 'nothing', 'nothing'],
      ['peer', 'edge-3'],
      ['address', '10.0.0.3:7171'],
      ['state', 'up'],
      ['repaired', 'nothing'],
    ],
  )
})
