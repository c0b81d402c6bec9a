// `tlscached stats`: shows what the caches of a node hold and have done.

import { Command } from 'commander'
import type { Address } from '../base/address.ts'
import { askCaches, type CachesAnswer, formatReadiness, total } from './answers.ts'
import { httpOption } from './node-client.ts'
import { formatTable } from './tables.ts'

export function statsCommand(): Command {
  return new Command('stats')
    .description('Show what the caches of a node hold and did.')
    .addOption(httpOption())
    .option('--json', 'print the document of GET /v1/caches')
    .action(stats)
}

async function stats(options: { readonly http: Address; readonly json?: boolean }): Promise<void> {
  const answer = await askCaches(options.http)
  console.log(options.json ? JSON.stringify(answer) : formatCaches(answer))
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
