// A server of streams: it listens, counts and limits connections, closes those that are overdue, and ends all of them
// when it stops.

import type { Server, Socket } from 'node:net'
import type { Address } from '../base/address.ts'
import type { Declaration } from '../base/counters.ts'
import { type Clock, every, type Timer } from '../base/world.ts'
import { type Frontend, listenOn } from './listener.ts'

export interface StreamConnection {
  /** Ends the connection at once; `onClose` of `open` may be called within. */
  close(): void
  /** Whether the peer was silent, or did not read, for longer than allowed; only where `lookMs` is set. */
  isOverdue?(nowMs: number): boolean
}

export interface StreamServerOptions {
  readonly address: Address
  /** The setting that errors name, such as `frontends.rpc`. */
  readonly field: string
  readonly clock: Clock
  /** Makes the server, once for each start; its options are those of every accepted socket. */
  readonly createServer: () => Server
  /** Most open connections; further ones are closed when they come. */
  readonly maxConnections: number
  /** Counts connections now open, rejected and timed out, and where it has such a field, all that were accepted. */
  readonly stats: {
    connections: number
    totalConnections?: number
    rejectedConnections: number
    timedOutConnections: number
  }
  /** Takes an accepted socket; `onClose` has to be called once, when the connection is closed. */
  readonly open: (socket: Socket, onClose: () => void) => StreamConnection
  /** Longest time that a connection is open; undefined for any time. */
  readonly deadlineMs?: number
  /** Time between two looks for connections that are overdue; undefined for no looks. */
  readonly lookMs?: number
  /** A connection could not be accepted, such as for lack of file descriptors. */
  readonly onFailure?: (error: Error) => void
}

export class StreamServer {
  readonly #options: StreamServerOptions
  readonly #connections = new Set<StreamConnection>()
  #address: Address
  #server: Server | undefined
  #watch: Timer | undefined

  constructor(options: StreamServerOptions) {
    this.#options = options
    this.#address = options.address
  }

  /** Where it listens. After the start the port is the one that the kernel chose. */
  get address(): Address {
    return this.#address
  }

  /** Starts to listen. Rejects with ERR_LISTEN. Idempotent. */
  async start(): Promise<void> {
    if (this.#server !== undefined) return
    const { address, field, clock, createServer, lookMs, stats, onFailure } = this.#options
    const server = createServer()
    server.on('connection', (socket: Socket) => this.#accept(socket))
    this.#server = server
    try {
      this.#address = await listenOn(server, address, field)
    } catch (error) {
      this.#server = undefined
      throw error
    }
    server.on('error', (error) => {
      stats.rejectedConnections += 1
      onFailure?.(error)
    })
    if (lookMs !== undefined) this.#watch = every(clock, lookMs, () => this.#closeOverdue())
  }

  /** Stops listening and closes all connections; resolves when they are closed. Idempotent. */
  async stop(): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    this.#server = undefined
    this.#watch?.cancel()
    this.#watch = undefined
    const closed = new Promise<void>((resolve) => {
      server.close(() => resolve())
    })
    for (const connection of this.#connections) connection.close()
    await closed
  }

  #accept(socket: Socket): void {
    const { clock, deadlineMs, maxConnections, open, stats } = this.#options
    if (this.#connections.size >= maxConnections) {
      stats.rejectedConnections += 1
      socket.destroy()
      return
    }
    if (stats.totalConnections !== undefined) stats.totalConnections += 1
    stats.connections += 1
    let deadline: Timer | undefined
    const connection = open(socket, () => {
      deadline?.cancel()
      this.#connections.delete(connection)
      stats.connections -= 1
    })
    this.#connections.add(connection)
    if (deadlineMs !== undefined) {
      deadline = clock.after(deadlineMs, () => this.#timeOut(connection))
    }
  }

  #closeOverdue(): void {
    const nowMs = this.#options.clock.monotonicMs()
    for (const connection of this.#connections) {
      if (connection.isOverdue?.(nowMs)) this.#timeOut(connection)
    }
  }

  #timeOut(connection: StreamConnection): void {
    this.#options.stats.timedOutConnections += 1
    connection.close()
  }
}

export interface StreamFrontendOptions {
  readonly address: Address
  readonly clock: Clock
  /** Most open connections; further ones are closed when they come. */
  readonly maxConnections?: number | undefined
}

/** Options of a frontend whose clients send many requests over one connection. */
export interface KeptOpenOptions extends StreamFrontendOptions {
  /** Longest silence between two requests. */
  readonly idleTimeoutMs?: number | undefined
  /** Longest time for the rest of a request to arrive, and for answers to be read. */
  readonly stallTimeoutMs?: number | undefined
}

/** A frontend whose clients all come to one server of streams. */
export abstract class StreamFrontend implements Frontend {
  abstract readonly name: string
  abstract readonly counters: Declaration
  abstract readonly stats: Readonly<Record<string, unknown>>
  protected abstract readonly server: StreamServer

  get address(): Address {
    return this.server.address
  }

  start(): Promise<void> {
    return this.server.start()
  }

  stop(): Promise<void> {
    return this.server.stop()
  }
}
