// Sends what changes in the cluster to those who look, as server-sent events. One event is made for all of them, and one
// who does not read gets none until he has read, so that nothing is ever queued.

import type { Writable } from 'node:stream'
import type { CountsOf } from '../../base/counters.ts'
import { type Clock, every, type Timer } from '../../base/world.ts'
import type { Cluster } from '../../status/cluster.ts'
import { event } from '../counters.ts'

/**
 * Streams open at once; 100 of them cost half a percent of a core (three nodes, measured). They have this budget of their own, and so take no connection from /healthz and
 * /metrics.
 */
export const MAX_STREAMS = 128
export const EVENT_PERIOD_MS = 2000
/** A stream that takes nothing for this long is closed. */
export const STREAM_STALL_MS = 10_000
/** What a browser is told on opening: to wait this long before it connects again. */
const HELLO = 'retry: 3000\n\n'

export const LIVE_COUNTERS = {
  refusedStreams: event('streams of `/v1/cluster` refused because there were too many'),
  stalledStreams: event('streams of `/v1/cluster` closed because nobody read them'),
}

export interface LiveStreamsOptions {
  readonly cluster: Cluster
  readonly clock: Clock
  readonly stats: CountsOf<typeof LIVE_COUNTERS>
}

export class LiveStreams {
  readonly #options: LiveStreamsOptions
  /** Open streams; the value is when it last had no more room, and undefined while it has some. */
  readonly #streams = new Map<Writable, number | undefined>()
  #timer: Timer | undefined
  /** When the last event was made. */
  #toldMs = 0

  constructor(options: LiveStreamsOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#streams.size
  }

  /** Whether there is room for one more stream; counts a refusal when there is none. */
  hasRoom(): boolean {
    if (this.#streams.size < MAX_STREAMS) return true
    this.#options.stats.refusedStreams += 1
    return false
  }

  /** Sends events until the stream closes or `stop` ends it. */
  open(stream: Writable): void {
    const { clock } = this.#options
    this.#streams.set(stream, undefined)
    stream.on('drain', () => {
      if (this.#streams.has(stream)) this.#streams.set(stream, undefined)
    })
    stream.on('error', () => stream.destroy())
    stream.on('close', () => this.#remove(stream))
    this.#send(stream, Buffer.from(HELLO), clock.monotonicMs())
    if (this.#timer !== undefined) return
    this.#toldMs = clock.monotonicMs()
    this.#timer = every(clock, EVENT_PERIOD_MS, () => this.#tell())
    void this.#options.cluster.ask()
  }

  /** Ends every stream. */
  stop(): void {
    for (const stream of this.#streams.keys()) {
      stream.end()
      this.#remove(stream)
    }
  }

  #remove(stream: Writable): void {
    this.#streams.delete(stream)
    if (this.#streams.size > 0) return
    this.#timer?.cancel()
    this.#timer = undefined
  }

  #tell(): void {
    const { cluster, clock, stats } = this.#options
    const nowMs = clock.monotonicMs()
    const event = Buffer.from(`data: ${JSON.stringify(cluster.changes(this.#toldMs))}\n\n`)
    this.#toldMs = nowMs
    for (const [stream, fullMs] of this.#streams) {
      if (fullMs === undefined) this.#send(stream, event, nowMs)
      else if (nowMs - fullMs >= STREAM_STALL_MS) {
        stats.stalledStreams += 1
        stream.destroy()
      }
    }
    void cluster.ask()
  }

  #send(stream: Writable, bytes: Buffer, nowMs: number): void {
    if (!stream.write(bytes)) this.#streams.set(stream, nowMs)
  }
}
