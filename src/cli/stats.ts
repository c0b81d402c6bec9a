// `tlscached stats` and `tlscached peers`: what a node answers about its caches and its peers, as tables for people.

import { setTimeout as delay } from 'node:timers/promises'
import Table from 'cli-table3'
import { Command } from 'commander'
import { z } from 'zod'
import type { Address } from '../base/address.ts'
import { askNodeJson } from '../base/node-client.ts'
import { summarySchema } from '../status/summary.ts'
import { httpOption } from './http-option.ts'
import { CLEAR_SCREEN, DEFAULT_INTERVAL_MS, interval, outputColumns } from './terminal.ts'

export function statsCommand(): Command {
  return new Command('stats')
    .description('Show what the caches of a node hold and did.')
    .addOption(httpOption())
    .option('--json', 'print the document of GET /v1/caches')
    .option('--watch [interval]', 'show it again at this interval; default: 2s', interval)
    .action(stats)
}

interface StatsOptions {
  readonly http: Address
  readonly json?: boolean
  /** Milliseconds between two looks; true for the usual ones. */
  readonly watch?: number | true
}

async function stats({ http, json, watch }: StatsOptions): Promise<void> {
  const show = async () => {
    const answer = await askCaches(http)
    return json ? JSON.stringify(answer) : formatCaches(answer)
  }
  if (watch === undefined) console.log(await show())
  else await showAgain(show, watch === true ? DEFAULT_INTERVAL_MS : watch)
}

/** Prints again and again until the process is stopped: over what was there on a terminal, below it elsewhere. */
async function showAgain(show: () => Promise<string>, intervalMs: number): Promise<void> {
  const { stdout } = process
  for (;;) {
    const text = await show()
    if (stdout.isTTY) stdout.write(CLEAR_SCREEN)
    stdout.write(`${text}\n`)
    await delay(intervalMs)
  }
}

/**
 * Returns a table of what the caches hold and have done, the refusals by reason if there are any, and the readiness.
 */
export function formatCaches(answer: CachesAnswer): string {
  const refusals = formatRefusals(answer)
  const table = formatTotals(answer)
  const tables = refusals === undefined ? table : `${table}\n\n${refusals}`
  return tables + formatReadiness(answer)
}

function formatRefusals({ caches }: CachesAnswer): string | undefined {
  const rows = caches.flatMap(({ name, puts, peer_refusals: byPeers }) => {
    const { stored: _stored, replaced: _replaced, ...byCallers } = puts
    const rowsOf = (from: string, counts: Readonly<Record<string, number>>) =>
      Object.entries(counts)
        .filter(([, count]) => count > 0)
        .map(([reason, count]) => [name, from, reason, count])
    return [...rowsOf('callers', byCallers), ...rowsOf('peers', byPeers)]
  })
  return rows.length === 0
    ? undefined
    : formatTable(['cache', 'refused from', 'reason', 'puts'], rows)
}

function formatTotals({ caches }: CachesAnswer): string {
  const head = ['cache', 'items', 'limit', 'bytes', 'gets', 'hits', 'puts', 'refused', 'removes']
  const rows = caches.map((cache) => {
    const puts = total(cache.puts)
    const taken = (cache.puts['stored'] ?? 0) + (cache.puts['replaced'] ?? 0)
    return [
      cache.name,
      cache.items,
      cache.items_limit,
      cache.stored_bytes,
      total(cache.gets),
      cache.gets['hit'] ?? 0,
      taken,
      puts - taken,
      cache.removes,
      cache.evicted,
      cache.expired,
    ]
  })
  return formatTable([...head, 'evicted', 'expired'], rows)
}

// `tlscached peers`: shows the peers of a node, and how well it replicates with each.

export function peersCommand(): Command {
  return new Command('peers')
    .description('Show the nodes that a node replicates with.')
    .addOption(httpOption())
    .option('--json', 'print the document of GET /v1/peers')
    .action(peers)
}

async function peers(options: { readonly http: Address; readonly json?: boolean }): Promise<void> {
  const answer = await askPeers(options.http)
  if (options.json) console.log(JSON.stringify(answer))
  else if (answer.replication === null && answer.peers.length === 0) {
    console.log('this node does not replicate')
  } else console.log(formatPeers(answer))
}

const HEAD = [
  'peer',
  'address',
  'state',
  'seen ms ago',
  'lag ms',
  'clock ms',
  'sent',
  'received',
  'lost',
  'repaired',
  'sync',
  'ms ago',
]

function formatPeers({ peers: all, ...node }: PeersAnswer): string {
  const rows = all.map((peer) => [
    peer.name === '' ? '?' : peer.name,
    peer.address,
    stateOf(peer),
    peer.last_seen_ms ?? '-',
    peer.lag_ms ?? '-',
    peer.clock_difference_ms ?? '-',
    peer.entries_sent,
    peer.entries_received,
    peer.lost,
    peer.repaired,
    peer.sync?.state ?? '-',
    peer.sync?.last_synced_ms ?? '-',
  ])
  return formatTable(HEAD, rows) + formatReadiness(node)
}

function stateOf(peer: PeersAnswer['peers'][number]): string {
  if (peer.up) return inRole(peer, 'up')
  // A peer without a name has not answered at its address yet.
  if (peer.name === '') return inRole(peer, 'not heard')
  return inRole(peer, peer.verified ? 'silent' : 'gone')
}

function inRole(peer: PeersAnswer['peers'][number], state: string): string {
  return peer.role === 'node' ? state : `${peer.role}, ${state}`
}

// The answers of a node's HTTP frontend that commands show, checked when they arrive.

const counts = z.record(z.string(), z.number())

/** Readiness of the node; one that was not restarted since an upgrade may leave it out. */
const readiness = { ready: z.boolean().optional(), reason: z.string().optional() }

const caches = z.object({
  node: z.string(),
  ...readiness,
  caches: z.array(
    z.looseObject({
      name: z.string(),
      items: z.number(),
      items_limit: z.number(),
      stored_bytes: z.number(),
      gets: counts,
      puts: counts,
      applied: counts,
      /** Refused puts of peers, by reason; older nodes leave them out. */
      peer_refusals: counts.prefault({}),
      removes: z.number(),
      evicted: z.number(),
      expired: z.number(),
    }),
  ),
})

const lastSynced = { last_synced_ms: z.number().nullable() }

const peersSchema = z.object({
  node: z.string(),
  ...readiness,
  replication: z
    .looseObject({
      datagrams_sent: z.number(),
      datagrams_received: z.number(),
      entries_sent: z.number(),
      entries_received: z.number(),
      dropped: counts,
      lost: z.number(),
    })
    .nullable(),
  sync: z.object({ state: z.string(), peer: z.string(), ...lastSynced }).nullable(),
  peers: z.array(
    z.looseObject({
      role: z.string(),
      name: z.string(),
      address: z.string(),
      up: z.boolean(),
      verified: z.boolean(),
      last_seen_ms: z.number().nullable(),
      lag_ms: z.number().nullable(),
      clock_difference_ms: z.number().nullable(),
      lost: z.number(),
      repaired: z.number(),
      entries_sent: z.number(),
      entries_received: z.number(),
      sync: z.object({ state: z.string(), ...lastSynced }).nullable(),
    }),
  ),
})

const cluster = z.object({
  node: z.string(),
  nodes: z.array(
    z.object({ node: z.string(), state: z.string(), summary: summarySchema.nullable() }),
  ),
})

export type CachesAnswer = z.output<typeof caches>
export type PeersAnswer = z.output<typeof peersSchema>

export async function askCaches(address: Address): Promise<CachesAnswer> {
  return caches.parse(await askNodeJson(address, '/v1/caches'))
}

export async function askCluster(address: Address): Promise<z.output<typeof cluster>> {
  return cluster.parse(await askNodeJson(address, '/v1/cluster'))
}

export async function askPeers(address: Address): Promise<PeersAnswer> {
  return peersSchema.parse(await askNodeJson(address, '/v1/peers'))
}

/** Returns a line about the readiness that follows a table, or '' when the node leaves it out. */
export function formatReadiness({
  ready,
  reason,
}: {
  ready?: boolean | undefined
  reason?: string | undefined
}): string {
  if (reason === undefined) return ''
  return `\nthis node is ${ready ? 'ready' : 'not ready'}: ${reason}`
}

/** Returns the sum of a group of counters. */
export function total(counters: Readonly<Record<string, number>>): number {
  return Object.values(counters).reduce((sum, count) => sum + count, 0)
}

// Tables.

type Row = readonly (string | number)[]

/**
 * Returns a table as text; columns of numbers are aligned to the right. Where it is wider than the terminal, its rows
 * become columns, as many beside each other as fit.
 */
export function formatTable(
  head: readonly string[],
  rows: readonly Row[],
  columns = outputColumns(),
): string {
  const table = draw(head, rows)
  if (columns === undefined || widthOf(table) <= columns) return table
  const [name = '', ...fields] = head
  const turned = (some: readonly Row[]) =>
    draw(
      [name, ...some.map(([first = '']) => String(first))],
      fields.map((field, index) => [field, ...some.map((row) => row[index + 1] ?? '')]),
    )
  const parts: Row[][] = []
  for (const row of rows) {
    const last = parts.at(-1)
    if (last !== undefined && widthOf(turned([...last, row])) <= columns) last.push(row)
    else parts.push([row])
  }
  return parts.map(turned).join('\n')
}

function widthOf(table: string): number {
  return table.split('\n', 1)[0]?.length ?? 0
}

function draw(head: readonly string[], rows: readonly Row[]): string {
  const first = rows[0] ?? []
  const table = new Table({
    head: [...head],
    colAligns: head.map((_, column) => (typeof first[column] === 'number' ? 'right' : 'left')),
    style: { head: [], border: [], compact: true },
  })
  for (const row of rows) table.push([...row])
  return table.toString()
}
