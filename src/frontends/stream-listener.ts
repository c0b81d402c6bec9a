// The listening socket of a frontend that speaks over streams, from its start to its end.

import { createServer, type Server, type ServerOpts, type Socket } from 'node:net'
import type { Address } from '../base/address.ts'
import { listenOn } from './frontend.ts'

export interface StreamListenerOptions {
  readonly address: Address
  /** The setting that errors name, as in `frontends.rpc`. */
  readonly field: string
  /** For every connection. */
  readonly socketOptions: ServerOpts
  /** More are closed as they come. Undefined where sockets give their handle away: then Node cannot count them. */
  readonly maxConnections?: number
  readonly onConnection: (socket: Socket) => void
  /** One was closed as it came; with an error when it could not be accepted, for want of file descriptors. */
  readonly onReject: (error?: Error) => void
}

export class StreamListener {
  readonly #options: StreamListenerOptions
  #address: Address
  #server: Server | undefined

  constructor(options: StreamListenerOptions) {
    this.#options = options
    this.#address = options.address
  }

  /** With the port the kernel chose, once it started. */
  get address(): Address {
    return this.#address
  }

  /** False when it listens already. Rejects with ERR_LISTEN. */
  async start(): Promise<boolean> {
    if (this.#server !== undefined) return false
    const { address, field, socketOptions, maxConnections, onConnection, onReject } = this.#options
    const server = createServer(socketOptions, onConnection)
    if (maxConnections !== undefined) server.maxConnections = maxConnections
    server.on('drop', () => onReject())
    this.#server = server
    try {
      this.#address = await listenOn(server, address, field)
    } catch (error) {
      this.#server = undefined
      throw error
    }
    server.on('error', onReject)
    return true
  }

  /** Resolves when the connections, which `end` ends, are closed as well. Idempotent. */
  async stop(end: () => void): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    this.#server = undefined
    const closed = new Promise<void>((resolve) => {
      server.close(() => resolve())
    })
    end()
    await closed
  }
}
