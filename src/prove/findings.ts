// Says why sessions do not resume: from what a run has seen to findings, without looking at anything else.

import { type Failure, TLS_VERSIONS } from '../tls-client/handshake.ts'
import { type FindingCode, LEVELS, type Level, textOf } from './finding-texts.ts'
import {
  type Cell,
  isSameKind,
  type Kind,
  keyNamesOf,
  mechanismOf,
  type Observations,
  type Source,
  shownKey,
  sourceOf,
} from './observations.ts'
import { pairCauseOf } from './pair-cause.ts'

export interface Finding {
  readonly code: FindingCode
  readonly level: Level
  /** Servers that it is about. */
  readonly servers: readonly string[]
  /** Versions of TLS in which it was seen, as in `1.2 and 1.3`. */
  readonly versions: string
  readonly cause: string
  readonly change: string
  /** Section of deploy/troubleshooting.md. */
  readonly see: string
}

/** One thing seen; equal ones of other servers and versions become one finding. */
interface Sight {
  readonly code: FindingCode
  readonly kind: Kind
  readonly subject: string
  readonly other?: string
  readonly detail?: string
}

const FAILURE_CODES: Readonly<Record<Failure, FindingCode>> = {
  unreachable: 'unreachable',
  timeout: 'no_answer',
  starttls: 'starttls',
  not_tls: 'not_tls',
  version: 'version_missing',
  refused: 'handshake',
}
/** A lifetime below this is worth a word, even where it outlasted the run. */
const SHORT_LIFETIME_SEC = 30

export function findingsOf(seen: Observations): readonly Finding[] {
  const sights = [
    ...awaySights(seen),
    ...seen.sources.flatMap((sources, index) =>
      sources.flatMap((source) => sightsOf(seen, seen.servers[index] ?? '', source)),
    ),
    ...unspokenSights(seen),
    ...keySights(seen),
    ...ticketlessSights(seen),
    ...seen.cells.flatMap((cell) => cellSights(seen, cell)),
    ...balancerSights(seen),
  ]
  return merge(sights).toSorted((a, b) => LEVELS.indexOf(a.level) - LEVELS.indexOf(b.level))
}

/** Whether every offer of usual clients resumed, on every server and through the balancer, and at least one was made. */
export function isAllResumed(seen: Observations): boolean {
  const rows = seen.balancer?.rows ?? []
  const sources = [...seen.sources.flat(), ...rows.map(({ source }) => source)].filter(
    ({ kind }) => kind.client === 'usual' && !isUnspoken(seen, kind),
  )
  const tallies = [
    ...seen.cells.flatMap(({ kind, soon, later }) =>
      kind.client === 'usual' ? [soon, later] : [],
    ),
    ...rows.map(({ tally }) => tally),
  ]
  return (
    sources.every((source) => source.failure === undefined && mechanismOf(source) !== 'none') &&
    tallies.some(({ offered }) => offered > 0) &&
    tallies.every(({ offered, resumed }) => offered === resumed)
  )
}

/** What one server shows by itself. */
function sightsOf(seen: Observations, subject: string, source: Source): Sight[] {
  const { kind, failure } = source
  const at = { kind, subject }
  const sights: Sight[] = []
  if (failure !== undefined && !isUnspoken(seen, kind)) {
    const detail = failure.reason === 'version' ? '' : failure.message
    sights.push({ ...at, code: FAILURE_CODES[failure.reason], detail })
  }
  if (kind.client !== 'usual') return sights
  if (source.mechanisms.has('none')) sights.push({ ...at, code: 'no_sessions' })
  if (source.hasZeroMac) sights.push({ ...at, code: 'zero_mac' })
  if (source.takesEarlyData) sights.push({ ...at, code: 'early_data' })
  if (source.distrust !== undefined) {
    sights.push({ ...at, code: 'distrusted', detail: source.distrust })
  }
  const { lifetimeSec } = source
  if (lifetimeSec !== undefined && lifetimeSec < SHORT_LIFETIME_SEC) {
    sights.push({ ...at, code: 'lifetime', detail: `lifetime ${lifetimeSec} s` })
  }
  return sights
}

function unspokenSights(seen: Observations): Sight[] {
  const kinds = seen.sources[0]?.map(({ kind }) => kind) ?? []
  return kinds
    .filter((kind) => kind.client === 'usual' && isUnspoken(seen, kind))
    .map((kind) => ({ code: 'version_unspoken', kind, subject: seen.servers.join(', ') }))
}

/** Whether no server speaks the version of TLS. */
function isUnspoken({ sources }: Observations, kind: Kind): boolean {
  return sources.every((all) => sourceOf(all, kind)?.failure?.reason === 'version')
}

/** Nodes concern no version of TLS: they are said with all that were tried. */
function awaySights({ sources, servers, nodesAway }: Observations): Sight[] {
  const kinds = (sources[0] ?? []).map(({ kind }) => kind)
  const subject = servers.join(', ')
  return nodesAway.flatMap((detail) =>
    kinds.map((kind): Sight => ({ code: 'node_away', kind, subject, detail })),
  )
}

/** Servers that all hand out tickets and have no key in common: one sight for all of them, in each version. */
function keySights(seen: Observations): Sight[] {
  const apart = seen.cells.filter(
    (cell) =>
      cell.kind.client === 'usual' &&
      isFailing(cell) &&
      pairCauseOf(seen, cell).code === 'no_shared_keys',
  )
  return TLS_VERSIONS.flatMap((version) => {
    const cells = apart.filter(({ kind }) => kind.version === version)
    const [first] = cells
    if (first === undefined) return []
    const concerned = seen.servers.flatMap((name, index) => {
      const isIn = cells.some(({ madeOn, offeredTo }) => madeOn === index || offeredTo === index)
      const source = sourceOf(seen.sources[index] ?? [], first.kind)
      return isIn && source !== undefined
        ? [{ name, keys: keyNamesOf(source).map(shownKey).join(', ') }]
        : []
    })
    const subject = concerned.map(({ name }) => name).join(', ')
    const detail = concerned.map(({ name, keys }) => `${name} under key ${keys}`).join(', of ')
    return [{ code: 'no_shared_keys', kind: first.kind, subject, detail }]
  })
}

/** Servers where clients without tickets do not resume: one sight for all of them. */
function ticketlessSights(seen: Observations): Sight[] {
  const failing = seen.cells.filter((cell) => cell.kind.client === 'no_tickets' && isFailing(cell))
  const subject = unique(failing.map(({ offeredTo }) => seen.servers[offeredTo])).join(', ')
  return failing.map(({ kind, madeOn }) => ({
    code: 'without_tickets',
    kind,
    subject,
    other: seen.servers[madeOn] ?? '',
  }))
}

function cellSights(seen: Observations, cell: Cell): Sight[] {
  const { kind, soon, later } = cell
  const other = seen.servers[cell.madeOn] ?? ''
  const taker = seen.servers[cell.offeredTo] ?? ''
  const laterSec = seen.laterMs / 1000
  if (!isFailing(cell) || kind.client === 'no_tickets') return []
  if (soon.failed + later.failed > 0) {
    return [{ code: 'offer_refused', kind, subject: taker, other }]
  }
  if (soon.resumed === soon.offered) {
    const source = sourceOf(seen.sources[cell.madeOn] ?? [], kind)
    const promised = source?.lifetimeSec
    // A promise that is as short is a finding already.
    if (promised !== undefined && promised < SHORT_LIFETIME_SEC) return []
    if (later.resumed > 0) {
      const share = `after ${laterSec} s ${later.resumed} of ${later.offered}`
      return [{ code: 'sometimes', kind, subject: taker, other, detail: share }]
    }
    const detail = `they resume at once, and not after ${laterSec} s`
    return [{ code: 'lifetime', kind, subject: other, detail }]
  }
  if (soon.resumed === 0 && later.offered > 0 && later.resumed === later.offered) {
    return [{ code: 'late', kind, subject: taker, other, detail: `after ${laterSec} s` }]
  }
  const { code, subject, detail } = pairCauseOf(seen, cell)
  // Said once, of all servers.
  if (code === 'no_shared_keys') return []
  return subject === 'maker'
    ? [{ code, kind, subject: other, ...(taker !== other && { other: taker }), detail }]
    : [{ code, kind, subject: taker, other, detail }]
}

function isFailing({ soon, later }: Cell): boolean {
  return soon.resumed + later.resumed < soon.offered + later.offered
}

function balancerSights(seen: Observations): Sight[] {
  const { balancer } = seen
  if (balancer === undefined) return []
  const subject = balancer.name
  return balancer.rows.flatMap(({ source, tally }): Sight[] => {
    const { kind } = source
    const own = sightsOf(seen, subject, source).filter(({ code }) => code !== 'zero_mac')
    if (source.failure !== undefined || tally.offered === 0) return own
    const isResumed = tally.resumed === tally.offered
    const ofKind = seen.cells.filter((cell) => isSameKind(cell.kind, kind))
    if (isResumed) {
      const isSticky = ofKind.some((cell) => cell.madeOn !== cell.offeredTo && isFailing(cell))
      return isSticky ? [...own, { code: 'balancer_sticks', kind, subject }] : own
    }
    const detail = `${tally.resumed} of ${tally.offered}`
    const strangers = strangersOf(seen, source)
    return [
      ...own,
      { code: 'balancer_misses', kind, subject, detail },
      ...strangers.map((stranger): Sight => {
        return { code: 'balancer_unlisted', kind, subject, detail: stranger }
      }),
    ]
  })
}

/** Keys and certificates that were seen through the balancer and on no listed server. */
function strangersOf(seen: Observations, source: Source): string[] {
  const listed = seen.sources.flat().filter(({ kind }) => isSameKind(kind, source.kind))
  const keys = keyNamesOf(source).filter((key) => !listed.some((one) => one.keyNames.has(key)))
  const certificates = [...source.certificates].filter(
    (one) => !listed.some((known) => known.certificates.has(one)),
  )
  return [
    ...keys.map((key) => `its tickets are under key ${shownKey(key)}`),
    ...certificates.map((one) => `its certificate is ${shownKey(one)}`),
  ]
}

/** Equal sights of several versions and servers become one finding. */
function merge(sights: readonly Sight[]): Finding[] {
  const groups = new Map<string, Sight[]>()
  for (const sight of sights) {
    const key = JSON.stringify([sight.code, sight.subject, sight.detail ?? ''])
    groups.set(key, [...(groups.get(key) ?? []), sight])
  }
  return [...groups.values()].flatMap((group) => {
    const [first] = group
    if (first === undefined) return []
    const { code, subject, detail = '' } = first
    const others = unique(group.flatMap(({ other }) => other ?? [])).join(', ')
    const { level, cause, change, see } = textOf(code)
    const words = { subject, others, detail }
    return {
      code,
      level,
      servers: subject.split(', '),
      versions: unique(group.map(({ kind }) => kind.version)).join(' and '),
      cause: cause(words),
      change: change(words),
      see,
    }
  })
}

function unique<T>(items: readonly T[]): T[] {
  return [...new Set(items)]
}
