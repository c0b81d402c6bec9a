// What the demo and its nodes, which are processes of their own, tell each other.

import { z } from 'zod'

/** To a node: the first message, with what must not stand on a command line. */
const start = z.object({
  kind: z.literal('start'),
  name: z.string(),
  /** Key of the cluster, a line of a keyring. */
  key: z.string(),
  items: z.number(),
})
/** To a node: where the others replicate. */
const peers = z.object({ kind: z.literal('peers'), peers: z.array(z.string()) })
export const toNodeSchema = z.discriminatedUnion('kind', [start, peers])
export type ToNode = z.output<typeof toNodeSchema>

/** From a node: where it listens. */
const started = z.object({
  kind: z.literal('started'),
  replication: z.string(),
  http: z.string(),
  tls: z.string(),
})
/** From a node: it knows its peers now. */
const connected = z.object({ kind: z.literal('connected') })
const failed = z.object({ kind: z.literal('failed'), message: z.string() })
export const fromNodeSchema = z.discriminatedUnion('kind', [started, connected, failed])
export type FromNode = z.output<typeof fromNodeSchema>

export const DEMO_CACHE = 'demo'
export const DEMO_CONTEXT = 'tlscached demo'
/** Sessions outlive the demo. */
export const DEMO_LIFETIME_SEC = 300
