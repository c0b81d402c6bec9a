// What a run says: as tables and sentences for people, as one JSON document, and as metrics in Prometheus' text format.

import { TLS_VERSIONS, type TlsVersion } from '../tls-client/handshake.ts'
import { FINDING_CODES, LEVELS } from './finding-texts.ts'
import type { Finding } from './findings.ts'
import {
  between,
  type Cell,
  keyNamesOf,
  mechanismOf,
  type Observations,
  type Source,
  serversBehind,
  shownKey,
  type Tally,
} from './observations.ts'
import type { ProveResult } from './prove.ts'

/** A table with its head, which the caller draws. */
export interface ReportTable {
  readonly head: readonly string[]
  readonly rows: readonly (readonly string[])[]
}

const MECHANISM_WORDS = {
  session_id: 'session ID',
  stateful_ticket: 'stateful ticket',
  ticket: 'ticket',
  none: 'none',
} as const

/** One row for each kind of session that a server made: where it resumed. */
export function matrixOf({ observations: seen }: ProveResult): ReportTable {
  const rows = seen.sources.flatMap((sources, madeOn) =>
    sources.filter(isShown).map((source) => [
      source.kind.version,
      seen.servers[madeOn] ?? '',
      describe(source),
      ...seen.servers.map((_, offeredTo) => {
        const cell = between(seen.cells, source.kind, madeOn, offeredTo)
        return cell === undefined ? '-' : formatCell(cell.soon, cell.later, seen.laterMs)
      }),
    ]),
  )
  const through = (seen.balancer?.rows ?? []).map(({ source, tally }) => [
    source.kind.version,
    `through ${seen.balancer?.name}`,
    describe(source),
    formatTally(tally),
    ...seen.servers.slice(1).map(() => ''),
  ])
  const head = [
    'TLS',
    'made on',
    'resumes by',
    ...seen.servers.map((name) => `resumed on\n${name}`),
  ]
  return { head, rows: [...rows.toSorted(byVersion), ...through] }
}

/** Sentences below the matrix: share, times, servers behind an address, then findings with what to change. */
export function linesOf(result: ProveResult): string[] {
  const { observations: seen, findings } = result
  const { offered, resumed } = totalOf(seen)
  const share = offered === 0 ? 0 : (100 * resumed) / offered
  const lines = [`${resumed} of ${offered} offers resumed (${share.toFixed(0)} %).`]
  if (seen.fullMs.length > 0 && seen.resumedMs.length > 0) {
    const [full, again] = [median(seen.fullMs).toFixed(2), median(seen.resumedMs).toFixed(2)]
    lines.push(`A full handshake took ${full} ms, a resumed one ${again} ms (p50).`)
  }
  for (const [name, least] of serversBehindEach(seen)) {
    if (least > 1) lines.push(`Behind ${name} are at least ${least} servers or processes.`)
  }
  return [...lines, ...findingsByChange(findings).flatMap((group) => ['', ...formatGroup(group)])]
}

/** The JSON document: fields are only ever added. */
export function documentOf(result: ProveResult): Readonly<Record<string, unknown>> {
  const { observations: seen, findings } = result
  const behind = new Map(serversBehindEach(seen))
  return {
    all_resumed: result.isAllResumed,
    ...totalOf(seen),
    full_ms: { p50: rounded(median(seen.fullMs)) },
    resumed_ms: { p50: rounded(median(seen.resumedMs)) },
    again_after_ms: seen.laterMs,
    servers: seen.servers.map((name, index) => ({
      name,
      servers_at_least: behind.get(name),
      sessions: (seen.sources[index] ?? []).map(sessionsOf),
    })),
    offers: seen.cells.map(({ kind, madeOn, offeredTo, soon, later }) => ({
      tls: kind.version,
      client: kind.client,
      made_on: seen.servers[madeOn],
      offered_to: seen.servers[offeredTo],
      at_once: { ...soon },
      again: { ...later },
    })),
    balancer: seen.balancer && {
      name: seen.balancer.name,
      servers_at_least: behind.get(seen.balancer.name),
      offers: seen.balancer.rows.map(({ source, tally }) => ({ ...sessionsOf(source), ...tally })),
    },
    findings,
  }
}

/** Metrics for node_exporter's textfile collector. Every label has a closed set of values, and each of them is there. */
export function metricsOf(result: ProveResult, endedMs: number): string {
  const { observations: seen, findings } = result
  const places = ['same', 'other', 'balancer'] as const
  const offers = TLS_VERSIONS.flatMap((tls) =>
    places.flatMap((server) => {
      const { offered, resumed, failed } = sumOf(talliesOf(seen, tls, server))
      const results = { resumed, full: offered - resumed - failed, failed }
      return Object.entries(results).map(([outcome, count]): [string, number] => [
        `tls="${tls}",server="${server}",result="${outcome}"`,
        count,
      ])
    }),
  )
  const levels = LEVELS.map((level): [string, number] => [
    `level="${level}"`,
    findings.filter((one) => one.level === level).length,
  ])
  const codes = FINDING_CODES.map((code): [string, number] => [
    `code="${code}"`,
    findings.filter((one) => one.code === code).length,
  ])
  const times: [string, number][] = [
    ['kind="full"', median(seen.fullMs) / 1000],
    ['kind="resumed"', median(seen.resumedMs) / 1000],
  ]
  return [
    metric('success', 'Whether all sessions resumed on all servers.', [
      ['', result.isAllResumed ? 1 : 0],
    ]),
    metric('last_run_timestamp_seconds', 'When the last run ended.', [['', endedMs / 1000]]),
    metric('servers', 'Servers that were tried.', [['', seen.servers.length]]),
    metric('offers', 'Offers of sessions in the last run, by result.', offers),
    metric('handshake_seconds', 'Median duration of handshakes in the last run.', times),
    metric('findings', 'Findings of the last run, by level.', levels),
    metric('finding', 'Findings of the last run, by cause.', codes),
  ].join('')
}

function metric(
  name: string,
  help: string,
  values: readonly (readonly [labels: string, value: number])[],
): string {
  const full = `tlscached_prove_${name}`
  const lines = values.map(([labels, value]) => `${full}${labels && `{${labels}}`} ${value}\n`)
  return `# HELP ${full} ${help}\n# TYPE ${full} gauge\n${lines.join('')}`
}

function talliesOf(
  seen: Observations,
  version: TlsVersion,
  server: 'same' | 'other' | 'balancer',
): Tally[] {
  if (server === 'balancer') {
    const rows = seen.balancer?.rows ?? []
    return rows.flatMap(({ source, tally }) => (source.kind.version === version ? [tally] : []))
  }
  return usualCells(seen)
    .filter(({ kind, madeOn, offeredTo }) => {
      const isSame = madeOn === offeredTo
      return kind.version === version && isSame === (server === 'same')
    })
    .flatMap(({ soon, later }) => [soon, later])
}

/** Nearly all clients take tickets: the few that do not have rows in the matrix, and count in no total. */
function usualCells(seen: Observations): readonly Cell[] {
  return seen.cells.filter(({ kind }) => kind.client === 'usual')
}

function totalOf(seen: Observations): { offered: number; resumed: number } {
  const { offered, resumed } = sumOf([
    ...usualCells(seen).flatMap(({ soon, later }) => [soon, later]),
    ...(seen.balancer?.rows ?? []).map(({ tally }) => tally),
  ])
  return { offered, resumed }
}

function sumOf(tallies: readonly Tally[]): Tally {
  const sum = { offered: 0, resumed: 0, failed: 0 }
  for (const { offered, resumed, failed } of tallies) {
    sum.offered += offered
    sum.resumed += resumed
    sum.failed += failed
  }
  return sum
}

function serversBehindEach(seen: Observations): [name: string, least: number][] {
  const least = (rows: readonly (readonly [Source, boolean])[]) =>
    Math.max(1, ...rows.map(([source, isResumed]) => serversBehind(source, isResumed)))
  const each = seen.servers.map((name, index): [string, number] => [
    name,
    least(
      (seen.sources[index] ?? []).map((source) => [source, isResumedWithin(seen, index, source)]),
    ),
  ])
  const { balancer } = seen
  if (balancer === undefined) return each
  const rows = balancer.rows.map(({ source, tally }): [Source, boolean] => [
    source,
    tally.resumed === tally.offered,
  ])
  return [...each, [balancer.name, least(rows)]]
}

/** Whether all sessions of a server resumed there. */
function isResumedWithin(seen: Observations, server: number, { kind }: Source): boolean {
  const own = between(seen.cells, kind, server, server)
  return own === undefined || own.soon.resumed === own.soon.offered
}

function sessionsOf(source: Source): Readonly<Record<string, unknown>> {
  return {
    tls: source.kind.version,
    client: source.kind.client,
    mechanism: mechanismOf(source),
    ticket_keys: keyNamesOf(source),
    lifetime_sec: source.lifetimeSec ?? null,
    certificates: [...source.certificates],
    failure: source.failure ?? null,
  }
}

/** Clients without tickets have a row only where they could resume at all. */
function isShown(source: Source): boolean {
  return source.kind.client === 'usual' || mechanismOf(source) !== 'none'
}

function describe(source: Source): string {
  if (source.failure !== undefined) return source.failure.reason
  const keys = keyNamesOf(source).map(shownKey).join(', ')
  const words = MECHANISM_WORDS[mechanismOf(source)]
  const client = source.kind.client === 'no_tickets' ? ', client without tickets' : ''
  return `${words}${keys && `, key ${keys}`}${client}`
}

function formatCell(soon: Tally, later: Tally, laterMs: number): string {
  const said = formatTally(soon)
  const isSame = later.resumed * soon.offered === soon.resumed * later.offered
  if (later.offered === 0) return said
  if (isSame) return `${soon.resumed + later.resumed} of ${soon.offered + later.offered}`
  return `${said}, after ${laterMs / 1000} s ${formatTally(later)}`
}

function formatTally({ offered, resumed, failed }: Tally): string {
  return `${resumed} of ${offered}${failed > 0 ? ', failed' : ''}`
}

/** Findings of the same cause on several servers have one advice, which is said once. */
function findingsByChange(findings: readonly Finding[]): (readonly Finding[])[] {
  const groups = new Map<string, Finding[]>()
  for (const finding of findings) {
    const key = `${finding.code} ${finding.change}`
    groups.set(key, [...(groups.get(key) ?? []), finding])
  }
  return [...groups.values()]
}

function formatGroup(group: readonly Finding[]): string[] {
  const causes = group.map(({ level, versions, cause }) => `${level}, TLS ${versions}: ${cause}`)
  const advice = group.slice(0, 1).flatMap(({ change, see }) => {
    return [`  change: ${change}`, `  read: deploy/troubleshooting.md#${see}`]
  })
  return [...causes, ...advice]
}

function byVersion(a: readonly string[], b: readonly string[]): number {
  return (a[0] ?? '').localeCompare(b[0] ?? '')
}

/** The median, or 0 when there are no values. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? 0
}

/** Rounds milliseconds to whole microseconds. */
export function rounded(durationMs: number): number {
  return Math.round(durationMs * 1000) / 1000
}
