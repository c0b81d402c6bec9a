// Formats the results of the demo, for people and for programs.

import { median, rounded } from '../prove/report.ts'
import { type CachesAnswer, formatTable, type PeersAnswer, total } from './stats.ts'

export interface DemoCounts {
  /** How many sessions made on the node of the row resumed on the node of the column. */
  readonly resumed: readonly (readonly number[])[]
  /** How many sessions made on the node of the row were offered to the node of the column. */
  readonly offered: readonly (readonly number[])[]
  readonly fullMs: readonly number[]
  readonly resumedMs: readonly number[]
  readonly sessions: number
}

export interface DemoNodeAnswers {
  readonly name: string
  readonly caches: CachesAnswer
  readonly peers: PeersAnswer
}

export function isAllResumed(counts: DemoCounts): boolean {
  return sum(counts.resumed) === sum(counts.offered) && counts.fullMs.length === counts.sessions
}

export function toDocument(counts: DemoCounts, nodes: readonly DemoNodeAnswers[]): string {
  return JSON.stringify({
    nodes: nodes.length,
    sessions: counts.sessions,
    offered: sum(counts.offered),
    resumed: sum(counts.resumed),
    full_ms: { p50: rounded(median(counts.fullMs)) },
    resumed_ms: { p50: rounded(median(counts.resumedMs)) },
    caches: nodes.flatMap(({ name, caches }) =>
      caches.caches.map((cache) => ({ node: name, ...cache })),
    ),
  })
}

export function formatReport(counts: DemoCounts, nodes: readonly DemoNodeAnswers[]): string {
  const names = nodes.map((node) => node.name)
  const matrix = formatTable(
    ['made on', ...names.map((name) => `resumed on ${name}`)],
    counts.resumed.map((row, made) => [
      names[made] ?? '',
      ...row.map((resumed, on) =>
        made === on ? '-' : `${resumed} of ${counts.offered[made]?.[on] ?? 0}`,
      ),
    ]),
  )
  return [matrix, formatNodes(nodes), formatTimes(counts)].join('\n\n')
}

function formatNodes(nodes: readonly DemoNodeAnswers[]): string {
  const head = ['node', 'sessions', 'hits', 'misses', 'changes sent', 'received', 'datagrams sent']
  const rows = nodes.map(({ name, caches, peers: { replication } }) => {
    const gets = caches.caches.map((cache) => cache.gets)
    const hits = gets.reduce((count, { hit = 0 }) => count + hit, 0)
    return [
      name,
      caches.caches.reduce((count, { items }) => count + items, 0),
      hits,
      gets.reduce((count, results) => count + total(results), 0) - hits,
      replication?.entries_sent ?? 0,
      replication?.entries_received ?? 0,
      replication?.datagrams_sent ?? 0,
      replication?.datagrams_received ?? 0,
      total(replication?.dropped ?? {}),
      replication?.lost ?? 0,
    ]
  })
  return formatTable([...head, 'received', 'dropped', 'lost'], rows)
}

function formatTimes(counts: DemoCounts): string {
  const offered = sum(counts.offered)
  const resumed = sum(counts.resumed)
  const fullMs = median(counts.fullMs)
  const resumedMs = median(counts.resumedMs)
  const savedMs = (fullMs - resumedMs) * resumed
  return [
    `${resumed} of ${offered} offers resumed on another node than the one that made the session.`,
    `A full handshake took ${fullMs.toFixed(2)} ms, a resumed one ${resumedMs.toFixed(2)} ms (p50); ` +
      `saved: ${savedMs.toFixed(0)} ms of handshakes.`,
  ].join('\n')
}

function sum(matrix: readonly (readonly number[])[]): number {
  return matrix.flat().reduce((total, count) => total + count, 0)
}
