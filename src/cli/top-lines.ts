// The text of `tlscached top`: problems first, then nodes, caches and who hears whom.

import { formatDurationMs } from '../base/bytes.ts'
import type { NodeState } from '../status/cluster.ts'
import type { Summary } from '../status/summary.ts'
import { wrapped } from './terminal.ts'

const SPARKS = '▁▂▃▄▅▆▇█'
/** Samples that a rate is the mean of: the last minute. */
const RATE_SAMPLES = 6
/** Samples in the small chart: the last five minutes. */
const CHART_SAMPLES = 30
const NOTHING = '-'
/** Stands before what mends a problem. */
const REMEDY = '    -> '

export interface TopNode {
  readonly node: string
  readonly state: string
  readonly summary: Summary | null
}

export interface TopCluster {
  /** The node that was asked. */
  readonly node: string
  readonly nodes: readonly TopNode[]
}

/** Words for states that are not plain. */
const STATES: Partial<Record<NodeState, string>> = {
  self: 'here',
  told: 'heard',
  no_answer: 'no answer',
}

/** Returns the text for the whole cluster, or for the one node of this name; on a terminal it is as wide as that. */
export function topLines(cluster: TopCluster, only?: string, columns?: number): readonly string[] {
  const nodes = cluster.nodes.filter(({ node }) => only === undefined || node === only)
  const told = nodes.flatMap(({ node, summary }) => (summary === null ? [] : [{ node, summary }]))
  const problems = told.flatMap(({ node, summary }) =>
    summary.problems.map((problem) => ({ node, ...problem })),
  )
  return [
    ...problemLines(problems).flatMap((line) => {
      return wrapped(line, columns, line.startsWith(REMEDY) ? REMEDY.length : 4)
    }),
    '',
    ...withCharts(
      table(
        ['NODE', 'STATE', 'READY', 'UP', 'GETS/S', 'HITS', 'PUTS/S', 'REFUSED/S', 'FROM PEERS/S'],
        nodes.map(nodeRow),
      ),
      told.length === 0 ? [] : nodes.map(({ summary }) => chartOf(summary)),
      columns,
    ),
    '',
    ...table(
      ['CACHE', 'NODE', 'ITEMS', 'OF', 'FULL', 'MIB', 'HITS', 'REFUSED', 'EVICTED'],
      told.flatMap(({ node, summary }) => summary.caches.map((cache) => cacheRow(node, cache))),
    ),
    '',
    ...table(
      ['AT', 'PEER', 'HEARD', 'SEEN', 'LAG', 'LOST', 'REPAIRED', 'COMPARED'],
      told.flatMap(({ node, summary }) => summary.peers.map((peer) => peerRow(node, peer))),
    ),
  ]
}

function problemLines(
  problems: readonly (Summary['problems'][number] & { readonly node: string })[],
): readonly string[] {
  if (problems.length === 0) return ['no problem is known']
  // What every node says of the same thing is said once.
  const nodesOf = new Map<string, string[]>()
  for (const { node, sentence } of problems) {
    nodesOf.set(sentence, [...(nodesOf.get(sentence) ?? []), node])
  }
  const first = problems.filter(({ node, sentence }) => nodesOf.get(sentence)?.[0] === node)
  const worstFirst = [...first].sort((a, b) => a.severity.localeCompare(b.severity))
  return worstFirst.flatMap(({ severity, sentence, remedy }) => [
    `${severity.toUpperCase()} ${nodesOf.get(sentence)?.join(', ')}: ${sentence}`,
    `${REMEDY}${remedy}`,
  ])
}

function nodeRow({ node, state, summary }: TopNode): readonly string[] {
  const shown = Object.entries(STATES).find(([name]) => name === state)?.[1] ?? state
  if (summary === null) return [node, shown, ...Array.from({ length: 7 }, () => NOTHING)]
  const { rates, ready, strictly_ready: isStrict, uptime_ms: uptimeMs } = summary
  const perSecond = (samples: readonly number[]) => {
    const newest = samples.slice(-RATE_SAMPLES)
    if (newest.length === 0) return NOTHING
    return shownRate((sum(newest) * 1000) / (newest.length * rates.period_ms))
  }
  return [
    node,
    shown,
    ready ? (isStrict ? 'yes' : 'alone') : 'no',
    shownTime(uptimeMs),
    perSecond(rates.gets),
    percent(sum(rates.hits.slice(-RATE_SAMPLES)), sum(rates.gets.slice(-RATE_SAMPLES))),
    perSecond(rates.puts),
    perSecond(rates.refused),
    perSecond(rates.received),
  ]
}

function chartOf(summary: Summary | null): string {
  const samples = summary?.rates.gets.slice(-CHART_SAMPLES) ?? []
  const most = Math.max(1, ...samples)
  return samples
    .map((count) => SPARKS[Math.round((count / most) * (SPARKS.length - 1))] ?? ' ')
    .join('')
}

function cacheRow(node: string, cache: Summary['caches'][number]): readonly string[] {
  const { items, items_limit: limit, stored_bytes: storedBytes, recent } = cache
  return [
    cache.name,
    node,
    String(items),
    String(limit),
    percent(items, limit),
    (storedBytes / 1024 ** 2).toFixed(1),
    percent(recent.hits, recent.gets),
    String(sum(Object.values(recent.refused))),
    String(recent.evicted),
  ]
}

function peerRow(node: string, peer: Summary['peers'][number]): readonly string[] {
  const { lag_ms: lagMs, last_seen_ms: seenMs, sync } = peer
  return [
    node,
    peer.name === '' ? peer.address : peer.name,
    peer.up ? 'yes' : 'no',
    seenMs === null ? 'never' : shownTime(seenMs),
    lagMs === null ? NOTHING : `${lagMs.toFixed(1)} ms`,
    String(peer.lost),
    String(peer.repaired),
    sync === null ? NOTHING : `${sync.state} ${shownSince(sync.last_synced_ms)}`.trim(),
  ]
}

function shownSince(ms: number | null): string {
  return ms === null ? '' : shownTime(ms)
}

/** A time in its largest whole unit, as in `3h` or `12s`. */
function shownTime(ms: number): string {
  const units = [86_400_000, 3_600_000, 60_000, 1000]
  const unit = units.find((one) => ms >= one) ?? 1
  return formatDurationMs(Math.round(ms / unit) * unit)
}

function shownRate(rate: number): string {
  return rate >= 100 || rate === 0 ? String(Math.round(rate)) : rate.toFixed(1)
}

function percent(part: number, whole: number): string {
  return whole === 0 ? NOTHING : `${((part / whole) * 100).toFixed(1)} %`
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0)
}

/** Adds a chart to each line of a table, and a title to its head, where the terminal has room for them. */
function withCharts(
  [head = '', ...lines]: readonly string[],
  charts: readonly string[],
  columns = Number.POSITIVE_INFINITY,
): readonly string[] {
  const width = Math.max(head.length, ...lines.map(({ length }) => length))
  if (charts.length === 0 || width + 2 + CHART_SAMPLES > columns) return [head, ...lines]
  const beside = (line: string, more: string) => `${line.padEnd(width)}  ${more}`.trimEnd()
  return [
    beside(head, 'GETS OF 5 MINUTES'),
    ...lines.map((line, index) => beside(line, charts[index] ?? '')),
  ]
}

/** Returns a table with columns as wide as they must be; numbers on the right. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): readonly string[] {
  if (rows.length === 0) return []
  const widths = head.map((name, column) =>
    Math.max(name.length, ...rows.map((row) => row[column]?.length ?? 0)),
  )
  const isNumber = head.map((_, column) => rows.every((row) => /^[\d-]/.test(row[column] ?? '')))
  const line = (cells: readonly string[]) => {
    const padded = cells.map((cell, column) => {
      const width = widths[column] ?? 0
      return isNumber[column] ? cell.padStart(width) : cell.padEnd(width)
    })
    return padded.join('  ').trimEnd()
  }
  return [line(head), ...rows.map(line)]
}
