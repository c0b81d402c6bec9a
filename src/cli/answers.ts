// The answers of a node's HTTP frontend that commands show, checked when they arrive.

import { z } from 'zod'
import type { Address } from '../base/address.ts'
import { askNodeJson } from './node-client.ts'

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

const peers = z.object({
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

export type CachesAnswer = z.output<typeof caches>
export type PeersAnswer = z.output<typeof peers>

export async function askCaches(address: Address): Promise<CachesAnswer> {
  return caches.parse(await askNodeJson(address, '/v1/caches'))
}

export async function askPeers(address: Address): Promise<PeersAnswer> {
  return peers.parse(await askNodeJson(address, '/v1/peers'))
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
