// The rpc frontend: the hooks of every cache and the ticket keys, for TLS terminators in other processes (hooks.proto).

import { createServer } from 'node:net'
import type { Address } from '../../base/address.ts'
import { zeros } from '../../base/counters.ts'
import { messageOf } from '../../base/errors.ts'
import { type LevelledLogger, type Logger, LogLimiter } from '../../base/world.ts'
import type { LocalHooks } from '../../hooks/local-hooks.ts'
import { type KeptOpenOptions, StreamFrontend, StreamServer } from '../../streams/stream-server.ts'
import { Connection, type RpcTickets } from './conversation.ts'
import { RPC_COUNTERS } from './stats.ts'

export const DEFAULT_MAX_CONNECTIONS = 1024
/** An idle terminator sends a ping more often than this (PING_INTERVAL_MS). */
export const DEFAULT_IDLE_TIMEOUT_MS = 60_000
export const DEFAULT_STALL_TIMEOUT_MS = 10_000

/** Times per timeout that connections are checked. */
const LOOKS_PER_TIMEOUT = 4

export interface RpcFrontendOptions extends KeptOpenOptions {
  /** Loopback or a unix socket, unless the operator insists on another address: sessions pass in clear. */
  readonly address: Address
  /** Hooks of each cache by its name. */
  readonly caches: ReadonlyMap<string, LocalHooks>
  readonly logger: Logger
  /** The log whose level callers over a unix socket may change; undefined for none. */
  readonly log?: LevelledLogger | undefined
  /** The ticket keys that callers over a unix socket may rotate and watch; undefined for none. */
  readonly tickets?: RpcTickets | undefined
}

export class RpcFrontend extends StreamFrontend {
  readonly name = 'rpc'
  readonly counters = RPC_COUNTERS
  readonly stats = zeros(RPC_COUNTERS)
  protected readonly server: StreamServer

  constructor({ address, caches, clock, logger, log, tickets, ...options }: RpcFrontendOptions) {
    super()
    const {
      maxConnections = DEFAULT_MAX_CONNECTIONS,
      idleTimeoutMs = DEFAULT_IDLE_TIMEOUT_MS,
      stallTimeoutMs = DEFAULT_STALL_TIMEOUT_MS,
    } = options
    const failures = new LogLimiter({ clock, logger })
    // Only callers of a unix socket may change the node or have its ticket keys: a port is open to everybody who reaches it.
    const own = 'path' in address ? { log, tickets } : {}
    const parts = { caches, stats: this.stats, failures, ...own }
    this.server = new StreamServer({
      address,
      field: 'frontends.rpc',
      clock,
      createServer: () => createServer({ noDelay: true }),
      maxConnections,
      stats: this.stats,
      open: (socket, onClose) =>
        new Connection(socket, parts, { clock, idleTimeoutMs, stallTimeoutMs, onClose }),
      lookMs: Math.min(idleTimeoutMs, stallTimeoutMs) / LOOKS_PER_TIMEOUT,
      onFailure: (error) =>
        failures.warn(() => ({ reason: messageOf(error) }), 'rpc: a connection was not accepted'),
    })
  }
}
