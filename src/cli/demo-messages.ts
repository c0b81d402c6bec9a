// Messages between the demo and its nodes, each of which is a process.

import { z } from 'zod'

/** To a node, as the first message: its settings, with a key that must not be on a command line. */
const start = z.object({
  kind: z.literal('start'),
  name: z.string(),
  /** Key of the cluster, in the form of a line of a keyring. */
  key: z.string(),
  items: z.number(),
})
/** To a node: the addresses at which the other nodes replicate. */
const peers = z.object({ kind: z.literal('peers'), peers: z.array(z.string()) })
export const toNodeSchema = z.discriminatedUnion('kind', [start, peers])
export type ToNode = z.output<typeof toNodeSchema>

/** From a node: the addresses at which it listens. */
const started = z.object({
  kind: z.literal('started'),
  replication: z.string(),
  http: z.string(),
  tls: z.string(),
})
/** From a node: it has taken over the peers. */
const connected = z.object({ kind: z.literal('connected') })
const failed = z.object({ kind: z.literal('failed'), message: z.string() })
export const fromNodeSchema = z.discriminatedUnion('kind', [started, connected, failed])
export type FromNode = z.output<typeof fromNodeSchema>

export const DEMO_CACHE = 'demo'
export const DEMO_CONTEXT = 'tlscached demo'
/** Lifetime of sessions, which is longer than the demo runs. */
export const DEMO_LIFETIME_SEC = 300
