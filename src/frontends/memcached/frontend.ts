// The memcached frontend: text and binary protocol on one port or unix socket, for one cache.

import type { Socket } from 'node:net'
import type { Address } from '../../base/address.ts'
import { type Clock, every, type Logger, type Timer } from '../../base/world.ts'
import type { LocalHooks } from '../../hooks/local-hooks.ts'
import type { Frontend } from '../../streams/listener.ts'
import { StreamListener } from '../../streams/stream-listener.ts'
import { Flusher } from '../flusher.ts'
import { Connection, type ConnectionOptions } from './connection.ts'
import { Entries, toTtlMs } from './entries.ts'
import { Turn } from './fast/turn.ts'
import type { ProtocolParts } from './protocol.ts'
import { type ServerProcess, ServerStatus } from './server-status.ts'
import { createMemcachedStats, MEMCACHED_COUNTERS } from './stats.ts'
import { maxValueBytes } from './values.ts'

export const DEFAULT_MAX_CONNECTIONS = 4096
/** 12 hours: Apache's connection pool takes a connection that we closed for a dead server, so we hardly ever do. */
export const DEFAULT_IDLE_TIMEOUT_MS = 43_200_000
export const DEFAULT_STALL_TIMEOUT_MS = 30_000

const KEEP_ALIVE_MS = 60_000
/** Times per timeout that connections are checked. */
const LOOKS_PER_TIMEOUT = 4

export interface MemcachedFrontendOptions {
  readonly address: Address
  readonly hooks: LocalHooks
  readonly clock: Clock
  readonly logger: Logger
  readonly process: ServerProcess
  /** Most open connections; further ones are closed when they come. */
  readonly maxConnections?: number | undefined
  /** Longest silence between two commands. */
  readonly idleTimeoutMs?: number | undefined
  /** Longest time for the rest of a command to arrive, and for answers to be read. */
  readonly stallTimeoutMs?: number | undefined
}

export class MemcachedFrontend implements Frontend {
  readonly name = 'memcached'
  readonly counters = MEMCACHED_COUNTERS
  readonly stats = createMemcachedStats()
  readonly #options: MemcachedFrontendOptions
  readonly #maxConnections: number
  readonly #idleTimeoutMs: number
  readonly #stallTimeoutMs: number
  readonly #flusher: Flusher
  readonly #protocolParts: ProtocolParts
  readonly #connectionOptions: ConnectionOptions
  readonly #connections = new Set<Connection>()
  readonly #listener: StreamListener
  #watch: Timer | undefined
  #hasLoggedSlow = false

  constructor(options: MemcachedFrontendOptions) {
    const { address, hooks, clock, process, maxConnections = DEFAULT_MAX_CONNECTIONS } = options
    this.#options = options
    this.#maxConnections = maxConnections
    this.#idleTimeoutMs = options.idleTimeoutMs ?? DEFAULT_IDLE_TIMEOUT_MS
    this.#stallTimeoutMs = options.stallTimeoutMs ?? DEFAULT_STALL_TIMEOUT_MS
    this.#flusher = new Flusher(hooks, clock)
    const entries = new Entries(hooks, clock, this.stats)
    const turn = new Turn(hooks, entries)
    this.#protocolParts = {
      output: turn.output,
      entries,
      status: new ServerStatus(hooks, this.stats, { clock, process, maxConnections }),
      stats: this.stats,
      maxValueBytes: maxValueBytes(hooks.limits.blocksize),
      flush: (delaySec, onDone) => this.#flush(delaySec, onDone),
    }
    this.#connectionOptions = {
      clock,
      turn,
      idleTimeoutMs: this.#idleTimeoutMs,
      stallTimeoutMs: this.#stallTimeoutMs,
    }
    this.#listener = new StreamListener({
      address,
      field: 'frontends.memcached',
      socketOptions: {
        noDelay: true,
        allowHalfOpen: true,
        pauseOnConnect: true,
        keepAlive: true,
        keepAliveInitialDelay: KEEP_ALIVE_MS,
      },
      onConnection: (socket) => this.#accept(socket),
      onReject: () => this.#reject(),
    })
  }

  get address(): Address {
    return this.#listener.address
  }

  async start(): Promise<void> {
    if (!(await this.#listener.start())) return
    const periodMs = Math.min(this.#idleTimeoutMs, this.#stallTimeoutMs) / LOOKS_PER_TIMEOUT
    this.#watch = every(this.#options.clock, periodMs, () => this.#closeOverdue())
  }

  stop(): Promise<void> {
    return this.#listener.stop(() => {
      this.#watch?.cancel()
      this.#watch = undefined
      this.#flusher.stop()
      for (const connection of this.#connections) connection.close()
    })
  }

  #reject(): void {
    this.stats.rejectedConnections += 1
  }

  #accept(socket: Socket): void {
    if (this.#connections.size >= this.#maxConnections) {
      this.#reject()
      socket.destroy()
      return
    }
    this.stats.totalConnections += 1
    this.stats.connections += 1
    const connection = new Connection(socket, this.#protocolParts, this.#connectionOptions, () => {
      this.#connections.delete(connection)
      this.stats.connections -= 1
    })
    this.#connections.add(connection)
    if (!connection.isFast) this.#logSlow()
  }

  #logSlow(): void {
    if (this.#hasLoggedSlow) return
    this.#hasLoggedSlow = true
    this.#options.logger.warn(
      { frontend: this.name, nodeVersion: process.version },
      'this Node.js lacks internals of sockets that the memcached frontend uses: it goes through the stream, which takes a fifth more processor time',
    )
  }

  #flush(delaySec: number, onDone: () => void): boolean {
    this.stats.flushes += 1
    const delayMs = toTtlMs(delaySec, this.#options.clock.wallMs()) ?? 0
    if (delayMs <= 0) return this.#flusher.flush(onDone)
    this.#flusher.flushAfter(delayMs)
    return true
  }

  #closeOverdue(): void {
    const nowMs = this.#options.clock.monotonicMs()
    for (const connection of this.#connections) {
      if (!connection.isOverdue(nowMs)) continue
      this.stats.timedOutConnections += 1
      connection.close()
    }
  }
}
