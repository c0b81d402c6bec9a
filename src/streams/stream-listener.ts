// The listening socket of a frontend that speaks over streams: start, stop and rejected connections.

import { createServer, type Server, type ServerOpts, type Socket } from 'node:net'
import type { Address } from '../base/address.ts'
import { listenOn } from './listener.ts'

export interface StreamListenerOptions {
  readonly address: Address
  /** The setting that errors name, such as `frontends.rpc`. */
  readonly field: string
  /** Options of every accepted socket. */
  readonly socketOptions: ServerOpts
  /** Most open connections; further ones are rejected. Undefined where sockets lose their handle: Node miscounts. */
  readonly maxConnections?: number
  readonly onConnection: (socket: Socket) => void
  /** A connection was rejected; with an error when it could not be accepted, such as for lack of file descriptors. */
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

  /** Where it listens. After the start the port is the one that the kernel chose. */
  get address(): Address {
    return this.#address
  }

  /** Starts to listen; resolves with false when it does so already. Rejects with ERR_LISTEN. */
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

  /** Stops listening and calls `end`, which has to end the connections; resolves when they are closed. Idempotent. */
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
