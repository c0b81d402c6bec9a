// Messages between the primary of a terminator and its workers, each of which is a process.

import { z } from 'zod'
import { terminatorStatsSchema } from './stats.ts'

/** To a worker that is ready: the number of its process, from 1. */
const start = z.object({ kind: z.literal('start'), process: z.number() })
/** To a worker: stop accepting, and exit when the last connection has ended. */
const drain = z.object({ kind: z.literal('drain') })
/** To a worker: read certificates, keys and revocation lists again. */
const reload = z.object({ kind: z.literal('reload') })
/** To a worker: send your counters. */
const ask = z.object({ kind: z.literal('ask') })
export const toWorkerSchema = z.discriminatedUnion('kind', [start, drain, reload, ask])
export type ToWorker = z.output<typeof toWorkerSchema>

/** From a worker, as its first message: it receives messages from now on, and earlier ones would have been lost. */
const ready = z.object({ kind: z.literal('ready') })
const listening = z.object({ kind: z.literal('listening'), addresses: z.array(z.string()) })
/** From a worker: it cannot start, for this reason, and exits. */
const failed = z.object({ kind: z.literal('failed'), message: z.string() })
const stats = z.object({ kind: z.literal('stats'), stats: terminatorStatsSchema })
export const fromWorkerSchema = z.discriminatedUnion('kind', [ready, listening, failed, stats])
export type FromWorker = z.output<typeof fromWorkerSchema>
