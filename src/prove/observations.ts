// What a run of prove has seen, as plain values: the findings, the report and the metrics are made of nothing else.

import type { ClientSession, Mechanism } from '../tls-client/client-session.ts'
import type { Failure, Handshake, TlsVersion } from '../tls-client/handshake.ts'

/** The usual client takes tickets; one without tickets resumes by session ID alone, which only TLS 1.2 has. */
export const CLIENTS = ['usual', 'no_tickets'] as const
export type Client = (typeof CLIENTS)[number]

/** One kind of handshake that is tried on every server. */
export interface Kind {
  readonly version: TlsVersion
  readonly client: Client
}

/** Offers of sessions and what became of them. */
export interface Tally {
  offered: number
  resumed: number
  /** Handshakes that failed; they count as offered. */
  failed: number
}

/** The full handshakes of one kind with one server, or through the balancer. */
export interface Source {
  readonly kind: Kind
  /** How many sessions came, by the mechanism that they resume by. */
  readonly mechanisms: Map<Mechanism, number>
  /** Names of the ticket keys in hex, in the order in which they were seen. */
  readonly keyNames: Set<string>
  /** SHA-256 of certificates in hex. */
  readonly certificates: Set<string>
  /** Shortest lifetime in seconds that a ticket promised; undefined when none did. */
  lifetimeSec: number | undefined
  hasZeroMac: boolean
  takesEarlyData: boolean
  distrust: string | undefined
  /** Why the first handshake that failed did so; after one no more are made. */
  failure: { readonly reason: Failure; readonly message: string } | undefined
}

/** Sessions of one server that were offered to one server. */
export interface Cell {
  readonly kind: Kind
  /** Indexes in `servers`. */
  readonly madeOn: number
  readonly offeredTo: number
  /** Offered at once. */
  readonly soon: Tally
  /** Offered `laterMs` after they were made. */
  readonly later: Tally
}

/** Counters of all nodes that were asked, or how they changed. */
export interface NodeCounts {
  /** Puts of terminators by result, as in `tlscached_puts_total`. */
  readonly puts: Readonly<Record<string, number>>
  /** Gets by result, as in `tlscached_gets_total`. */
  readonly gets: Readonly<Record<string, number>>
  /** Sessions taken from peers. */
  readonly applied: number
  /** Sessions of peers that were refused, by reason. */
  readonly peerRefusals: Readonly<Record<string, number>>
}

/** What the nodes counted while one session was made on a server and offered to another, where it did not resume. */
export interface Question {
  readonly kind: Kind
  readonly madeOn: number
  readonly offeredTo: number
  readonly whileMade: NodeCounts
  readonly whileOffered: NodeCounts
  /** Whether it resumed this time, since it was offered at once. */
  readonly isResumed: boolean
}

/** Sessions that were made and offered through the balancer. */
export interface BalancerRow {
  readonly source: Source
  readonly tally: Tally
}

export interface Observations {
  /** Names of the servers, in the order of all indexes. */
  readonly servers: readonly string[]
  /** Time after which sessions were offered again; 0 when they were not. */
  readonly laterMs: number
  /** `sources[server]` has one entry for each kind that was tried there. */
  readonly sources: readonly (readonly Source[])[]
  readonly cells: readonly Cell[]
  readonly balancer: { readonly name: string; readonly rows: readonly BalancerRow[] } | undefined
  /** How many nodes answered; 0 when none were given. */
  readonly nodes: number
  /** A sentence for each node that did not answer. */
  readonly nodesAway: readonly string[]
  readonly questions: readonly Question[]
  /** Durations of full and of resumed handshakes in milliseconds. */
  readonly fullMs: readonly number[]
  readonly resumedMs: readonly number[]
}

/** A run that ended before its first handshake. */
export const NOTHING_SEEN: Observations = {
  servers: [],
  laterMs: 0,
  sources: [],
  cells: [],
  balancer: undefined,
  nodes: 0,
  nodesAway: [],
  questions: [],
  fullMs: [],
  resumedMs: [],
}

const SHOWN_DIGITS = 8

export function newTally(): Tally {
  return { offered: 0, resumed: 0, failed: 0 }
}

export function newSource(kind: Kind): Source {
  return {
    kind,
    mechanisms: new Map(),
    keyNames: new Set(),
    certificates: new Set(),
    lifetimeSec: undefined,
    hasZeroMac: false,
    takesEarlyData: false,
    distrust: undefined,
    failure: undefined,
  }
}

/** Adds what a full handshake showed. */
export function note(source: Source, { session, certificate, distrust }: Handshake): void {
  const mechanism = session?.mechanism ?? 'none'
  source.mechanisms.set(mechanism, (source.mechanisms.get(mechanism) ?? 0) + 1)
  source.certificates.add(certificate)
  source.distrust ??= distrust
  if (session !== undefined) noteSession(source, session)
}

function noteSession(source: Source, session: ClientSession): void {
  if (session.keyName !== undefined) source.keyNames.add(session.keyName)
  if (session.lifetimeSec !== undefined) {
    source.lifetimeSec = Math.min(source.lifetimeSec ?? session.lifetimeSec, session.lifetimeSec)
  }
  source.hasZeroMac ||= session.hasZeroMac
  source.takesEarlyData ||= session.takesEarlyData
}

/** The mechanism that most sessions of the source had; 'none' when there were no sessions. */
export function mechanismOf(source: Source): Mechanism {
  const [most] = [...source.mechanisms].toSorted(([, a], [, b]) => b - a)
  return most?.[0] ?? 'none'
}

/**
 * Names of ticket keys, or none where every ticket has another one: there the first bytes of a ticket name no key, as
 * with recent releases of Go.
 */
export function keyNamesOf(source: Source): readonly string[] {
  const tickets = source.mechanisms.get('ticket') ?? 0
  const isNameless = tickets > 2 && source.keyNames.size === tickets
  return isNameless ? [] : [...source.keyNames]
}

/**
 * The least number of servers that can be behind one address, by what only one server of them can have shown. Where all
 * sessions resume, several names of keys may be those of one server: it has had a new key, or its tickets begin with
 * something else, as with stunnel, which leaves what lay in its memory there.
 */
export function serversBehind(source: Source, isResumed: boolean): number {
  const keys = isResumed ? 1 : keyNamesOf(source).length
  return Math.max(1, source.certificates.size, keys)
}

/** Beginning of the name of a ticket key or of a certificate's hash, as people compare them. */
export function shownKey(keyName: string): string {
  return `${keyName.slice(0, SHOWN_DIGITS)}..`
}

export function isSameKind(a: Kind, b: Kind): boolean {
  return a.version === b.version && a.client === b.client
}

/** The cell or question about sessions of this kind that one server made and that were offered to another. */
export function between<Seen extends Pick<Cell, 'kind' | 'madeOn' | 'offeredTo'>>(
  all: readonly Seen[],
  kind: Kind,
  madeOn: number,
  offeredTo: number,
): Seen | undefined {
  return all.find(
    (one) => one.madeOn === madeOn && one.offeredTo === offeredTo && isSameKind(one.kind, kind),
  )
}

/** The source of this kind; undefined when it was not tried. */
export function sourceOf(sources: readonly Source[], kind: Kind): Source | undefined {
  return sources.find((source) => isSameKind(source.kind, kind))
}
