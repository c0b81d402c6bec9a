// `tlscached trace`: where a session is on all nodes, and, with --debug, what happens to it from now on.

import { setTimeout as delay } from 'node:timers/promises'
import { Command, InvalidArgumentError, Option } from 'commander'
import type { Address } from '../base/address.ts'
import { formatDurationMs, parseHex } from '../base/bytes.ts'
import { messageOf } from '../base/errors.ts'
import { askNode } from '../base/node-client.ts'
import {
  type ClusterTrace,
  clusterTraceSchema,
  MIN_PREFIX_BYTES,
  type Trace,
} from '../status/trace.ts'
import { FAILED } from './exit-codes.ts'
import { httpOption } from './http-option.ts'
import { formatTable } from './stats.ts'
import { duration, printable } from './terminal.ts'

const DEFAULT_FOR_MS = 60_000
const POLL_MS = 1000
/** How long nodes go on noting after the last question; this command may be killed at any time. */
const FOLLOW_SEC = 15

interface TraceOptions {
  readonly http: Address
  readonly debug?: boolean
  readonly for: number
  readonly json?: boolean
}

export function traceCommand(): Command {
  return new Command('trace')
    .description('Show where a session is on all nodes: version, lifetime, who made it.')
    .argument('<id>', 'session ID in hex, or the beginning of one, as in the log', sessionId)
    .addOption(httpOption())
    .option('--debug', 'then print each get, put, remove, eviction and expiry of it')
    .addOption(
      new Option('--for <duration>', 'how long --debug goes on')
        .argParser(duration)
        .default(DEFAULT_FOR_MS, formatDurationMs(DEFAULT_FOR_MS)),
    )
    .option('--json', 'print the document of GET /v1/trace; with --debug one event a line')
    .action(trace)
}

async function trace(id: string, options: TraceOptions): Promise<void> {
  const { http, debug, json } = options
  const first = await askTrace(http, id, debug === true ? FOLLOW_SEC : 0)
  const told = first.nodes.flatMap((one) => one.trace ?? [])
  if (json !== true) console.log(formatTrace(first))
  else if (debug !== true) console.log(JSON.stringify(first))
  if (debug === true) await follow(id, first, options)
  else if (told.every(({ entries }) => entries.length === 0)) process.exitCode = FAILED
}

async function askTrace(http: Address, id: string, followSec: number): Promise<ClusterTrace> {
  const { body } = await askNode(http, {
    path: `/v1/trace/${id}`,
    query: { follow: String(followSec) },
  })
  return clusterTraceSchema.parse(JSON.parse(body.toString()))
}

function formatTrace({ nodes }: ClusterTrace): string {
  const nameOf = namesOf(nodes.flatMap(({ trace: one }) => one ?? []))
  const rows = nodes.flatMap(({ node, state, trace: one }) => {
    if (one === null) return [[node, WORDS[state], '', '', '', '', '', '']]
    if (one.entries.length === 0) return [[node, 'not here', '', '', '', '', '', '']]
    return one.entries.map((entry) => [
      node,
      entry.state === 'session' ? 'here' : 'removed',
      entry.cache,
      entry.id,
      formatDurationMs(Math.max(0, Math.floor(entry.ttl_ms / 1000) * 1000)),
      entry.changed_at,
      nameOf(entry.origin),
      entry.state === 'session' ? contextOf(entry) : '',
    ])
  })
  const head = [
    'node',
    'session',
    'cache',
    'id',
    'lives',
    'changed at',
    'by',
    'context, server name',
  ]
  return formatTable(
    head,
    rows.map((row) => row.map((cell) => printable(cell ?? ''))),
  )
}

const WORDS = { told: '', no_answer: 'no answer', older: 'earlier release', silent: 'silent' }

function contextOf({ context_hex: hex, server_name: name }: Trace['entries'][number]): string {
  const text = Buffer.from(hex, 'hex').toString('latin1')
  const context = /^[\x20-\x7e]+$/.test(text) ? text : `hex:${hex}`
  return name === '' ? context : `${context}, ${name}`
}

/** Names the node whose boot made a change; one that runs no more is known by its number alone. */
function namesOf(traces: readonly Trace[]): (origin: string) => string {
  const names = new Map(traces.map(({ origin, node }) => [origin, node]))
  return (origin) => names.get(origin) ?? `an earlier run (${origin})`
}

/** Prints what the nodes note, until the time is over or the process is stopped. */
async function follow(id: string, first: ClusterTrace, options: TraceOptions): Promise<void> {
  const { http, json } = options
  const endMs = performance.now() + options.for
  /** Number of the newest event printed of each run of a node. */
  const printed = new Map<string, number>()
  for (let cluster = first; ; ) {
    const nowMs = Date.now()
    const traces = cluster.nodes.flatMap((one) => one.trace ?? [])
    const nameOf = namesOf(traces)
    const news = traces.flatMap(({ node, origin: run, events }) => {
      const fresh = events.filter(({ number }) => number > (printed.get(run) ?? 0))
      printed.set(run, Math.max(printed.get(run) ?? 0, ...fresh.map(({ number }) => number)))
      return fresh.map((event) => ({ node, atMs: nowMs - event.age_ms, event }))
    })
    for (const { node, atMs, event } of news.sort((a, b) => a.atMs - b.atMs)) {
      if (json) console.log(JSON.stringify({ node, at_ms: atMs, ...event }))
      else console.log(lineOf(node, atMs, event, nameOf))
    }
    if (performance.now() >= endMs) return
    await delay(Math.min(POLL_MS, Math.max(0, endMs - performance.now())))
    cluster = await askTrace(http, id, FOLLOW_SEC)
  }
}

/** What happens to a session without a call. */
const ENDINGS: Readonly<Record<string, (cache: string) => string>> = {
  evict: (cache) => `evicted from ${cache}: the cache is full`,
  expire: (cache) => `expired in ${cache}: its lifetime is over`,
}

function lineOf(
  node: string,
  atMs: number,
  { cache, what, result, by, origin }: Trace['events'][number],
  nameOf: (origin: string) => string,
): string {
  const from = by === 'local' ? 'a caller' : origin === null ? 'a peer' : nameOf(origin)
  const outcome = result === 'done' ? '' : `: ${result}`
  const event = ENDINGS[what]?.(cache) ?? `${what} in ${cache} by ${from}${outcome}`
  return printable(`${new Date(atMs).toISOString()} ${node} ${event}`)
}

function sessionId(text: string): string {
  try {
    const id = parseHex(text.replace(/\.\.$/, ''))
    if (id.length >= MIN_PREFIX_BYTES) return id.toString('hex')
  } catch (error) {
    throw new InvalidArgumentError(messageOf(error))
  }
  throw new InvalidArgumentError(`must have ${MIN_PREFIX_BYTES} bytes at least`)
}
