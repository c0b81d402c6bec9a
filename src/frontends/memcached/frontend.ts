// The memcached frontend: text and binary protocol on one port or unix socket, for one cache.

import { createServer, type Socket } from 'node:net'
import { zeros } from '../../base/counters.ts'
import type { Logger } from '../../base/world.ts'
import type { ContextlessHooks } from '../../hooks/contextless-hooks.ts'
import { type KeptOpenOptions, StreamFrontend, StreamServer } from '../../streams/stream-server.ts'
import { Flusher } from '../flusher.ts'
import { Connection, type ConnectionOptions } from './connection.ts'
import { Entries, toTtlMs } from './entries.ts'
import { Turn } from './fast/turn.ts'
import type { ProtocolParts } from './protocol.ts'
import { type ServerProcess, ServerStatus } from './server-status.ts'
import { MEMCACHED_COUNTERS } from './stats.ts'
import type { TicketKeys } from './ticket-keys.ts'
import { maxValueBytes } from './values.ts'

export const DEFAULT_MAX_CONNECTIONS = 4096
/** 12 hours: Apache's connection pool takes a connection that we closed for a dead server, so we hardly ever do. */
export const DEFAULT_IDLE_TIMEOUT_MS = 43_200_000
export const DEFAULT_STALL_TIMEOUT_MS = 30_000

const KEEP_ALIVE_MS = 60_000
/** Times per timeout that connections are checked. */
const LOOKS_PER_TIMEOUT = 4

export interface MemcachedFrontendOptions extends KeptOpenOptions {
  readonly hooks: ContextlessHooks
  readonly logger: Logger
  readonly process: ServerProcess
  /** The ticket keys that nghttpx and h2o get here; undefined for none. */
  readonly ticketKeys?: TicketKeys | undefined
}

export class MemcachedFrontend extends StreamFrontend {
  readonly name = 'memcached'
  readonly counters = MEMCACHED_COUNTERS
  readonly stats = zeros(MEMCACHED_COUNTERS)
  readonly #options: MemcachedFrontendOptions
  readonly #flusher: Flusher
  readonly #protocolParts: ProtocolParts
  readonly #connectionOptions: ConnectionOptions
  protected readonly server: StreamServer
  #hasLoggedSlow = false

  constructor(options: MemcachedFrontendOptions) {
    super()
    const { address, hooks, clock, process, ticketKeys } = options
    const { maxConnections = DEFAULT_MAX_CONNECTIONS } = options
    this.#options = options
    const { idleTimeoutMs = DEFAULT_IDLE_TIMEOUT_MS, stallTimeoutMs = DEFAULT_STALL_TIMEOUT_MS } =
      options
    this.#flusher = new Flusher(hooks, clock)
    const entries = new Entries(hooks, clock, this.stats)
    const turn = new Turn(hooks, entries, ticketKeys)
    this.#protocolParts = {
      output: turn.output,
      entries,
      ticketKeys,
      status: new ServerStatus(hooks, this.stats, { clock, process, maxConnections }),
      stats: this.stats,
      maxValueBytes: maxValueBytes(hooks.limits.blocksize),
      flush: (delaySec, onDone) => this.#flush(delaySec, onDone),
    }
    this.#connectionOptions = { clock, turn, idleTimeoutMs, stallTimeoutMs }
    this.server = new StreamServer({
      address,
      field: 'frontends.memcached',
      clock,
      createServer: () =>
        createServer({
          noDelay: true,
          allowHalfOpen: true,
          pauseOnConnect: true,
          keepAlive: true,
          keepAliveInitialDelay: KEEP_ALIVE_MS,
        }),
      maxConnections,
      stats: this.stats,
      open: (socket, onClose) => this.#open(socket, onClose),
      lookMs: Math.min(idleTimeoutMs, stallTimeoutMs) / LOOKS_PER_TIMEOUT,
    })
  }

  override stop(): Promise<void> {
    this.#flusher.stop()
    return super.stop()
  }

  #open(socket: Socket, onClose: () => void): Connection {
    const connection = new Connection(socket, this.#protocolParts, this.#connectionOptions, onClose)
    if (!connection.isFast) this.#logSlow()
    return connection
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
}
