// What the primary of a terminator and its workers, each a process, tell each other.

import { z } from 'zod'
import { terminatorStatsSchema } from './stats.ts'

/** To a worker that is ready: which of the processes it is, from 1. */
const start = z.object({ kind: z.literal('start'), process: z.number() })
/** To a worker: accept nothing more, end when the last connection has. */
const drain = z.object({ kind: z.literal('drain') })
/** To a worker: read certificates, keys and revocation lists again. */
const reload = z.object({ kind: z.literal('reload') })
/** To a worker: say what you counted. */
const ask = z.object({ kind: z.literal('ask') })
export const toWorkerSchema = z.discriminatedUnion('kind', [start, drain, reload, ask])
export type ToWorker = z.output<typeof toWorkerSchema>

/** From a worker, first of all: it listens to messages now; earlier ones would be lost. */
const ready = z.object({ kind: z.literal('ready') })
const listening = z.object({ kind: z.literal('listening'), addresses: z.array(z.string()) })
/** It cannot start. */
const failed = z.object({ kind: z.literal('failed'), message: z.string() })
const stats = z.object({ kind: z.literal('stats'), stats: terminatorStatsSchema })
export const fromWorkerSchema = z.discriminatedUnion('kind', [ready, listening, failed, stats])
export type FromWorker = z.output<typeof fromWorkerSchema>
