// The rpc frontend: the hooks of every cache, for TLS terminators in other processes (proto/hooks.proto).

import type { Socket } from 'node:net'
import type { Address } from '../../base/address.ts'
import { messageOf } from '../../base/errors.ts'
import {
  type Clock,
  every,
  type LevelledLogger,
  type Logger,
  LogLimiter,
  type Timer,
} from '../../base/world.ts'
import type { LocalHooks } from '../../hooks/local-hooks.ts'
import type { Frontend } from '../../streams/listener.ts'
import { StreamListener } from '../../streams/stream-listener.ts'
import { Connection } from './conversation.ts'
import { createRpcStats, RPC_COUNTERS } from './stats.ts'

export const DEFAULT_MAX_CONNECTIONS = 1024
/** An idle terminator sends a ping more often than this (PING_INTERVAL_MS). */
export const DEFAULT_IDLE_TIMEOUT_MS = 60_000
export const DEFAULT_STALL_TIMEOUT_MS = 10_000

/** Times per timeout that connections are checked. */
const LOOKS_PER_TIMEOUT = 4

export interface RpcFrontendOptions {
  /** Loopback or a unix socket, unless the operator insists on another address: sessions pass in clear. */
  readonly address: Address
  /** Hooks of each cache by its name. */
  readonly caches: ReadonlyMap<string, LocalHooks>
  readonly clock: Clock
  readonly logger: Logger
  /** The log whose level callers over a unix socket may change; undefined for none. */
  readonly log?: LevelledLogger | undefined
  /** Most open connections; further ones are closed when they come. */
  readonly maxConnections?: number | undefined
  /** Longest silence between two requests. */
  readonly idleTimeoutMs?: number | undefined
  /** Longest time for the rest of a request to arrive, and for answers to be read. */
  readonly stallTimeoutMs?: number | undefined
}

export class RpcFrontend implements Frontend {
  readonly name = 'rpc'
  readonly counters = RPC_COUNTERS
  readonly stats = createRpcStats()
  readonly #options: RpcFrontendOptions
  readonly #idleTimeoutMs: number
  readonly #stallTimeoutMs: number
  readonly #failures: LogLimiter
  readonly #connections = new Set<Connection>()
  readonly #listener: StreamListener
  #watch: Timer | undefined

  constructor(options: RpcFrontendOptions) {
    this.#options = options
    this.#idleTimeoutMs = options.idleTimeoutMs ?? DEFAULT_IDLE_TIMEOUT_MS
    this.#stallTimeoutMs = options.stallTimeoutMs ?? DEFAULT_STALL_TIMEOUT_MS
    this.#failures = new LogLimiter(options.clock)
    const { address, maxConnections = DEFAULT_MAX_CONNECTIONS } = options
    this.#listener = new StreamListener({
      address,
      field: 'frontends.rpc',
      socketOptions: { noDelay: true },
      maxConnections,
      onConnection: (socket) => this.#accept(socket),
      onReject: (error) => this.#reject(error),
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
      for (const connection of this.#connections) connection.close()
    })
  }

  #reject(error?: Error): void {
    this.stats.rejectedConnections += 1
    if (error === undefined) return
    this.#failures.pass((heldBack) =>
      this.#options.logger.warn(
        { reason: messageOf(error), heldBack },
        'rpc: a connection was not accepted',
      ),
    )
  }

  #accept(socket: Socket): void {
    this.stats.totalConnections += 1
    this.stats.connections += 1
    const { address, caches, clock, logger, log } = this.#options
    // Whoever reaches a port of the network may not change the node.
    const own = 'path' in address ? log : undefined
    const parts = { caches, stats: this.stats, logger, failures: this.#failures, log: own }
    const connection = new Connection(socket, parts, {
      clock,
      idleTimeoutMs: this.#idleTimeoutMs,
      stallTimeoutMs: this.#stallTimeoutMs,
      onClose: () => {
        this.#connections.delete(connection)
        this.stats.connections -= 1
      },
    })
    this.#connections.add(connection)
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
