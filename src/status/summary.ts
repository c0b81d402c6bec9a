// What a node tells of itself to its peers and in /v1/cluster: one document of bounded size, without a secret.

import { z } from 'zod'
import { GET_RESULTS, isRefusal, PUT_RESULTS } from '../store/stats.ts'
import { MAX_SUMMARY_BYTES } from '../wire/sync-message.ts'
import { type CacheStatus, describeCache, describePeer } from './documents.ts'
import { errorsFirst, type Problem, type ProblemFacts, problemsOf } from './problems.ts'
import type { Readiness } from './readiness.ts'
import { summarizeTickets, type TicketFacts, ticketProblems, ticketsSchema } from './tickets.ts'
import { type NodeWatch, RATE_SAMPLES, type RecentCache } from './watch.ts'

/** Most caches, peers and problems in a summary; further ones are only counted. */
export const MAX_SUMMARY_CACHES = 32
export const MAX_SUMMARY_PEERS = 128
export const MAX_SUMMARY_PROBLEMS = 32
const MAX_NAME = 255
const MAX_TEXT = 1024

const count = z.number().nonnegative()
const name = z.string().max(MAX_NAME)
const text = z.string().max(MAX_TEXT)
/** Counts by result or reason; a node of a later release may have more of them. */
const counts = z
  .record(z.string().max(32), count)
  .refine((record) => Object.keys(record).length <= 32)
const samples = z.array(count).max(RATE_SAMPLES)

const cacheSchema = z.object({
  name,
  items: count,
  items_limit: count,
  stored_bytes: count,
  memory_limit_bytes: count.nullable(),
  timeout_ms: count,
  full: name,
  gets: counts,
  puts: counts,
  evicted: count,
  expired: count,
  /** What was counted in the last ten minutes. */
  recent: z.object({
    stored: count,
    gets: count,
    hits: count,
    context_mismatches: count,
    evicted: count,
    refused: counts,
  }),
})

const peerSchema = z.object({
  role: name,
  name,
  address: text,
  boot: name.nullable(),
  up: z.boolean(),
  last_seen_ms: count.nullable(),
  lag_ms: z.number().nullable(),
  lost: count,
  repaired: count,
  sync: z.object({ state: name, last_synced_ms: count.nullable() }).nullable(),
})

const problemSchema = z.object({
  code: name,
  severity: z.enum(['error', 'warning']),
  subject: text,
  sentence: text,
  remedy: text,
  link: text,
})

const ratesSchema = z.object({
  period_ms: count,
  last: count,
  age_ms: count,
  gets: samples,
  hits: samples,
  puts: samples,
  refused: samples,
  evicted: samples,
  received: samples,
})

/** A summary as a peer or `/v1/cluster` tells it; unknown fields are skipped. */
export const summarySchema = z.object({
  node: name,
  boot: name,
  release: name,
  uptime_ms: count,
  ready: z.boolean(),
  strictly_ready: z.boolean(),
  reason: text,
  caches: z.array(cacheSchema).max(MAX_SUMMARY_CACHES),
  more_caches: count,
  peers: z.array(peerSchema).max(MAX_SUMMARY_PEERS),
  more_peers: count,
  problems: z.array(problemSchema).max(MAX_SUMMARY_PROBLEMS),
  more_problems: count,
  rates: ratesSchema,
  /** Null for a node that makes no ticket keys. */
  tickets: ticketsSchema.nullable().default(null),
})

/** What a node says of itself. */
export type Summary = z.infer<typeof summarySchema>
export type CacheSummary = z.infer<typeof cacheSchema>
export type ProblemSummary = z.infer<typeof problemSchema>

export interface SummaryFacts extends Omit<ProblemFacts, 'recent'> {
  readonly nodeName: string
  /** Boot ID in hex. */
  readonly boot: string
  readonly release: string
  readonly readiness: Readiness
  readonly caches: readonly CacheStatus[]
  readonly watch: NodeWatch
  /** Undefined for a node that makes no ticket keys. */
  readonly tickets: TicketFacts | undefined
}

/** Returns what the node says of itself now, with its newest `samples` samples of rates. */
export function summarize(facts: SummaryFacts, newest = RATE_SAMPLES): Summary {
  const { nodeName, boot, release, readiness, caches, peers, watch, tickets } = facts
  const recent = watch.recent()
  const problems = errorsFirst([
    ...problemsOf({ ...facts, recent }),
    ...(tickets === undefined ? [] : ticketProblems(tickets, watch.uptimeMs)),
  ])
  const recentCaches = new Map(recent.caches.map((one) => [one.name, one]))
  return {
    node: cut(nodeName, MAX_NAME),
    boot,
    release: cut(release, MAX_NAME),
    uptime_ms: Math.round(watch.uptimeMs),
    ready: readiness.isReady,
    strictly_ready: readiness.isStrictlyReady,
    reason: cut(readiness.reason, MAX_TEXT),
    caches: caches
      .slice(0, MAX_SUMMARY_CACHES)
      .map((cache) => summarizeCache(cache, recentCaches.get(cache.limits.name))),
    more_caches: Math.max(0, caches.length - MAX_SUMMARY_CACHES),
    peers: peers.slice(0, MAX_SUMMARY_PEERS).map((peer) => {
      const { verified, clock_difference_ms, entries_sent, entries_received, ...told } =
        describePeer(peer)
      return { ...told, name: cut(told.name, MAX_NAME), address: cut(told.address, MAX_TEXT) }
    }),
    more_peers: Math.max(0, peers.length - MAX_SUMMARY_PEERS),
    problems: problems.slice(0, MAX_SUMMARY_PROBLEMS).map(summarizeProblem),
    more_problems: Math.max(0, problems.length - MAX_SUMMARY_PROBLEMS),
    rates: watch.rates(newest),
    tickets: tickets === undefined ? null : summarizeTickets(tickets),
  }
}

/**
 * Encodes a summary for peers. One that is too large, which only names full of control characters can make, goes
 * without its peers and problems.
 */
export function encodeSummary(summary: Summary): Buffer {
  const bytes = Buffer.from(JSON.stringify(summary))
  if (bytes.length <= MAX_SUMMARY_BYTES) return bytes
  const { peers, problems, more_peers, more_problems } = summary
  return Buffer.from(
    JSON.stringify({
      ...summary,
      peers: [],
      more_peers: more_peers + peers.length,
      problems: [],
      more_problems: more_problems + problems.length,
    }),
  )
}

/** Decodes a peer's summary; undefined when it is malformed or too large. Unknown fields are skipped. */
export function decodeSummary(bytes: Buffer): Summary | undefined {
  if (bytes.length > MAX_SUMMARY_BYTES) return undefined
  try {
    return summarySchema.safeParse(JSON.parse(bytes.toString('utf8'))).data
  } catch {
    return undefined
  }
}

function summarizeCache(cache: CacheStatus, recent: RecentCache | undefined): CacheSummary {
  const { name, items, items_limit, stored_bytes, memory_limit_bytes, timeout_ms, full } =
    describeCache(cache)
  const { gets, puts, evicted, expired } = cache.stats
  return {
    name,
    items,
    items_limit,
    stored_bytes,
    memory_limit_bytes,
    timeout_ms,
    full,
    gets: pick(GET_RESULTS, gets),
    puts: pick(PUT_RESULTS, puts),
    evicted,
    expired,
    recent: {
      stored: recent?.stored ?? 0,
      gets: recent?.gets ?? 0,
      hits: recent?.hits ?? 0,
      context_mismatches: recent?.contextMismatches ?? 0,
      evicted: recent?.evicted ?? 0,
      refused: recent === undefined ? {} : pick(PUT_RESULTS.filter(isRefusal), recent.refused),
    },
  }
}

function summarizeProblem(problem: Problem): ProblemSummary {
  const { subject, sentence, remedy } = problem
  return {
    ...problem,
    subject: cut(subject, MAX_TEXT),
    sentence: cut(sentence, MAX_TEXT),
    remedy: cut(remedy, MAX_TEXT),
  }
}

function pick<Name extends string>(
  names: readonly Name[],
  record: Readonly<Record<Name, number>>,
): Record<string, number> {
  return Object.fromEntries(names.map((one) => [one, record[one]]))
}

function cut(text: string, most: number): string {
  return text.length <= most ? text : text.slice(0, most)
}
