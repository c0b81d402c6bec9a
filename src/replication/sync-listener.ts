// Takes TCP connections of peers. Whoever did not prove yet to have a key costs a socket at most, for a
// short time, and gives way to newcomers; so a flood of half-open connections locks nobody out.

import { once } from 'node:events'
import type { Socket } from 'node:net'
import { createServer, type Server, type TLSSocket } from 'node:tls'
import type { HostAddress } from '../base/address.ts'
import type { Clock, Timer } from '../base/clock.ts'
import { messageOf } from '../base/errors.ts'
import { type Logger, LogLimiter } from '../base/logger.ts'
import type { Keyring } from '../wire/keyring.ts'
import { FrameStream } from './frame-stream.ts'
import { failureOf, type SyncStats } from './sync-stats.ts'
import { HANDSHAKE_TIMEOUT_MS, serverOptions } from './sync-tls.ts'

/** Handshakes at once; the oldest gives way. */
export const MAX_HANDSHAKES = 256
/** Peers served at once: far more would only slow each other down. */
export const MAX_CONNECTIONS = 64
const BACKLOG = 511

export interface SyncListenerOptions {
  readonly keyring: () => Keyring
  /** Resolves when the peer ended, rejects when it is of no more use. */
  readonly serve: (stream: FrameStream) => Promise<void>
  readonly stats: SyncStats
  readonly clock: Clock
  readonly logger: Logger
}

interface Handshake {
  readonly socket: Socket
  readonly timer: Timer
}

export class SyncListener {
  readonly #options: SyncListenerOptions
  readonly #log: LogLimiter
  /** By the peer's address and port, oldest first. */
  readonly #handshakes = new Map<string, Handshake>()
  readonly #connections = new Set<TLSSocket>()
  #server: Server | undefined

  constructor(options: SyncListenerOptions) {
    this.#options = options
    this.#log = new LogLimiter(options.clock)
  }

  /** Where it listens; 0 when it does not. */
  get port(): number {
    const address = this.#server?.address()
    return typeof address === 'object' && address !== null ? address.port : 0
  }

  /** Connections now open, whatever their state. */
  get connectionCount(): number {
    return this.#handshakes.size + this.#connections.size
  }

  /** Rejects with the error of the system when the address cannot be had. */
  async start({ host, port }: HostAddress): Promise<void> {
    const server = createServer(serverOptions(this.#options.keyring))
    server.on('connection', (socket) => this.#begin(socket))
    server.on('secureConnection', (socket) => this.#accept(socket))
    server.on('tlsClientError', (error, socket) => {
      if (this.#take(keyOf(socket)) !== undefined) this.#failHandshake(error)
      socket.destroy()
    })
    server.listen({ host, port, backlog: BACKLOG })
    await once(server, 'listening')
    // Running out of file descriptors, for one: the next connection may be luckier.
    server.on('error', (error) => this.#failHandshake(error))
    this.#server = server
  }

  /** Ends every connection; idempotent. */
  async stop(): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    this.#server = undefined
    const closed = once(server, 'close')
    server.close()
    for (const { socket, timer } of this.#handshakes.values()) {
      timer.cancel()
      socket.destroy()
    }
    for (const socket of this.#connections) socket.destroy()
    this.#handshakes.clear()
    await closed
  }

  #begin(socket: Socket): void {
    const { clock, stats } = this.#options
    const [oldest] = this.#handshakes.keys()
    if (this.#handshakes.size >= MAX_HANDSHAKES && oldest !== undefined) {
      stats.failures.flood += 1
      this.#take(oldest)?.destroy()
    }
    const key = keyOf(socket)
    const timer = clock.after(HANDSHAKE_TIMEOUT_MS, () => {
      this.#take(key)?.destroy()
      this.#failHandshake('too slow')
    })
    this.#handshakes.set(key, { socket, timer })
    socket.on('error', () => {})
    socket.on('close', () => {
      // Still there: neither accepted nor cut off by us.
      if (this.#handshakes.get(key)?.socket !== socket) return
      this.#take(key)
      this.#failHandshake('ended')
    })
  }

  #accept(socket: TLSSocket): void {
    const { stats, clock, serve } = this.#options
    this.#take(keyOf(socket))
    if (this.#connections.size >= MAX_CONNECTIONS) {
      stats.failures.busy += 1
      socket.destroy()
      return
    }
    this.#connections.add(socket)
    socket.on('close', () => this.#connections.delete(socket))
    const stream = new FrameStream(socket, clock)
    serve(stream)
      .then(() => stream.end())
      .catch((error: unknown) => {
        if (this.#server !== undefined) stats.failures[failureOf(error)] += 1
        stream.close()
      })
  }

  /** Takes a handshake off the list. */
  #take(key: string): Socket | undefined {
    const handshake = this.#handshakes.get(key)
    this.#handshakes.delete(key)
    handshake?.timer.cancel()
    return handshake?.socket
  }

  #failHandshake(error: unknown): void {
    const { stats, logger } = this.#options
    stats.failures.handshake += 1
    this.#log.pass((heldBack) =>
      logger.warn(
        { reason: messageOf(error), heldBack },
        'replication: refused a connection that does not prove to have a key',
      ),
    )
  }
}

function keyOf(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`
}
