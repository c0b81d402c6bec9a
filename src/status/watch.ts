// Watches the counters of a node: its rates in samples of ten seconds for an hour, and what grew in the last minutes.

import { type Clock, every, type Timer } from '../base/world.ts'
import { DROP_REASONS, type DropReason, type ReplicationStats } from '../replication/stats.ts'
import { type CacheStats, isRefusal, PUT_RESULTS, type RefusalReason } from '../store/stats.ts'
import { CounterHistory } from './counter-history.ts'

export const SAMPLE_PERIOD_MS = 10_000
/** Samples kept for rates: one hour. */
export const RATE_SAMPLES = 360
/** Samples over which problems are looked for: ten minutes. */
export const RECENT_SAMPLES = 60

/**
 * What is sampled, over all caches of the node: gets and those of them that were hits, puts that were stored and that
 * were refused, sessions evicted, and changes received from peers.
 */
export const RATE_NAMES = ['gets', 'hits', 'puts', 'refused', 'evicted', 'received'] as const
export type RateName = (typeof RATE_NAMES)[number]

const REFUSALS = PUT_RESULTS.filter(isRefusal)
/** Counters of a cache in the history: those of `RecentCache` one by one, then its refusals. */
const CACHE_NAMES = ['stored', 'gets', 'hits', 'contextMismatches', 'evicted'] as const
const CACHE_WIDTH = CACHE_NAMES.length + REFUSALS.length
/** Counters of replication in the history: lost datagrams, changes of unknown caches, then dropped datagrams. */
const REPLICATION_WIDTH = 2 + DROP_REASONS.length

export interface WatchedCounters {
  readonly caches: readonly { readonly name: string; readonly stats: CacheStats }[]
  /** Undefined when no replication is configured. */
  readonly replication: ReplicationStats | undefined
  /** Changes received for caches that are not configured here. */
  readonly unknownCaches: () => number
}

/** What one cache counted in the last ten minutes, or since the start when that is less. */
export interface RecentCache extends Readonly<Record<(typeof CACHE_NAMES)[number], number>> {
  readonly name: string
  readonly refused: Readonly<Record<RefusalReason, number>>
}

/** What a node counted in the last ten minutes, or since the start when that is less. */
export interface RecentCounts {
  readonly caches: readonly RecentCache[]
  /** Datagrams with changes that never arrived. */
  readonly lost: number
  readonly unknownCaches: number
  readonly dropped: Readonly<Record<DropReason, number>>
}

/** The samples of a node as it tells them, the oldest first; each is a count within `period_ms`. */
export interface Rates extends Readonly<Record<RateName, number[]>> {
  readonly period_ms: number
  /** Number of the newest sample; the first one since the start is 1. */
  readonly last: number
  /** Time since the newest sample ended. */
  readonly age_ms: number
}

export class NodeWatch {
  readonly #counters: WatchedCounters
  readonly #clock: Clock
  readonly #rates = new CounterHistory(RATE_NAMES.length, RATE_SAMPLES)
  readonly #recent: CounterHistory
  #timer: Timer | undefined
  #startedMs = 0
  #sampledMs = 0

  constructor(counters: WatchedCounters, clock: Clock) {
    this.#counters = counters
    this.#clock = clock
    const width = counters.caches.length * CACHE_WIDTH + REPLICATION_WIDTH
    this.#recent = new CounterHistory(width, RECENT_SAMPLES)
  }

  /** Time since the start. */
  get uptimeMs(): number {
    return this.#clock.monotonicMs() - this.#startedMs
  }

  /** Begins to take samples; idempotent. */
  start(): void {
    if (this.#timer !== undefined) return
    this.#startedMs = this.#clock.monotonicMs()
    this.#sample()
    this.#timer = every(this.#clock, SAMPLE_PERIOD_MS, () => this.#sample())
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  /** Returns the newest `most` samples of the last hour. */
  rates(most = RATE_SAMPLES): Rates {
    return {
      period_ms: SAMPLE_PERIOD_MS,
      last: Math.max(0, this.#rates.taken - 1),
      age_ms: Math.round(this.#clock.monotonicMs() - this.#sampledMs),
      ...byName(RATE_NAMES, (at) => this.#rates.growths(at, most)),
    }
  }

  /** Returns what grew in the last ten minutes, this moment included. */
  recent(): RecentCounts {
    const growths = this.#recentCounts().map((now, at) => this.#recent.growthSince(at, now))
    const growthAt = (at: number) => growths[at] ?? 0
    const caches = this.#counters.caches.map(({ name }, index) => {
      const start = index * CACHE_WIDTH
      const own = byName(CACHE_NAMES, (at) => growthAt(start + at))
      const refused = byName(REFUSALS, (at) => growthAt(start + CACHE_NAMES.length + at))
      return { name, ...own, refused }
    })
    const start = caches.length * CACHE_WIDTH
    return {
      caches,
      lost: growthAt(start),
      unknownCaches: growthAt(start + 1),
      dropped: byName(DROP_REASONS, (at) => growthAt(start + 2 + at)),
    }
  }

  #sample(): void {
    this.#sampledMs = this.#clock.monotonicMs()
    this.#rates.take(this.#rateCounts())
    this.#recent.take(this.#recentCounts())
  }

  /** The counts of RATE_NAMES. */
  #rateCounts(): number[] {
    const { caches, replication } = this.#counters
    const total = (read: (stats: CacheStats) => number) =>
      caches.reduce((sum, { stats }) => sum + read(stats), 0)
    return [
      total(getsOf),
      total(({ gets }) => gets.hit),
      total(storedOf),
      total(({ puts }) => REFUSALS.reduce((sum, reason) => sum + puts[reason], 0)),
      total(({ evicted }) => evicted),
      replication?.entriesReceived ?? 0,
    ]
  }

  #recentCounts(): number[] {
    const { caches, replication, unknownCaches } = this.#counters
    const ofCaches = caches.flatMap(({ stats }) => [
      storedOf(stats),
      getsOf(stats),
      stats.gets.hit,
      stats.gets.context_mismatch,
      stats.evicted,
      ...REFUSALS.map((reason) => stats.puts[reason]),
    ])
    const dropped = DROP_REASONS.map((reason) => replication?.dropped[reason] ?? 0)
    return [...ofCaches, replication?.lost ?? 0, unknownCaches(), ...dropped]
  }
}

function getsOf({ gets }: CacheStats): number {
  return gets.hit + gets.miss + gets.expired + gets.context_mismatch
}

function storedOf({ puts }: CacheStats): number {
  return puts.stored + puts.replaced
}

function byName<Name extends string, Value>(
  names: readonly Name[],
  valueAt: (index: number) => Value,
): Record<Name, Value> {
  return Object.fromEntries(names.map((name, at) => [name, valueAt(at)])) as Record<Name, Value>
}
