// The frontend for uWSGI's cache commands over TCP, which its Python API sends to `name@host:port`. A connection has
// one request and its answer, and then ends.

import { createServer, type Socket } from 'node:net'
import { zeros } from '../../base/counters.ts'
import type { ContextlessHooks } from '../../hooks/contextless-hooks.ts'
import {
  type StreamConnection,
  StreamFrontend,
  type StreamFrontendOptions,
  StreamServer,
} from '../../streams/stream-server.ts'
import { InputBuffer } from '../input-buffer.ts'
import { type CommandRequest, Commands, type RequestFault, takeRequest } from './commands.ts'
import { UWSGI_COUNTERS } from './stats.ts'

/** Longest time for a whole request to arrive and for its answer to be read. uWSGI's own client waits as long. */
export const CONNECTION_MS = 4000
export const MAX_CONNECTIONS = 1024

export interface UwsgiFrontendOptions extends StreamFrontendOptions {
  readonly hooks: ReadonlyMap<string, ContextlessHooks>
  /** Name of the cache for commands that name none. */
  readonly defaultCache: string
}

export class UwsgiFrontend extends StreamFrontend {
  readonly name = 'uwsgi'
  readonly counters = UWSGI_COUNTERS
  readonly stats = zeros(UWSGI_COUNTERS)
  readonly #commands: Commands
  protected readonly server: StreamServer

  constructor(options: UwsgiFrontendOptions) {
    super()
    this.#commands = new Commands({ ...options, stats: this.stats })
    const { address, maxConnections = MAX_CONNECTIONS } = options
    this.server = new StreamServer({
      address,
      field: 'frontends.uwsgi',
      clock: options.clock,
      // Half open, because a client may end its side after the request.
      createServer: () => createServer({ allowHalfOpen: true, noDelay: true }),
      maxConnections,
      stats: this.stats,
      open: (socket, onClose) => this.#open(socket, onClose),
      deadlineMs: CONNECTION_MS,
    })
  }

  override stop(): Promise<void> {
    this.#commands.stop()
    return super.stop()
  }

  #open(socket: Socket, onClose: () => void): StreamConnection {
    const input = new InputBuffer()
    let request: CommandRequest | undefined
    let isOver = false
    const end = (answer?: Buffer) => {
      isOver = true
      input.clear()
      if (answer === undefined) socket.end()
      else socket.end(answer)
    }
    socket.on('data', (chunk) => {
      if (isOver) return
      input.append(chunk)
      const taken = request ?? takeRequest(input)
      if (taken === 'starved') return
      if (typeof taken === 'string') {
        this.#count(taken)
        end()
        return
      }
      request = taken
      isOver = this.#serve(taken, input, end)
    })
    socket.on('end', () => {
      if (isOver) return
      this.stats.malformed += 1
      end()
    })
    socket.on('error', () => socket.destroy())
    socket.on('close', onClose)
    return { close: () => socket.destroy() }
  }

  /** Carries out a request; false while its value is incomplete. */
  #serve(request: CommandRequest, input: InputBuffer, end: (answer?: Buffer) => void): boolean {
    const { valueBytes } = request
    const hooks = this.#commands.hooksFor(request)
    if (hooks === undefined) end()
    else if (valueBytes > hooks.limits.blocksize) {
      this.#commands.refuseTooLarge(hooks, valueBytes)
      end()
    } else if (input.length < valueBytes) return false
    else this.#commands.run(request, hooks, input.take(valueBytes), end)
    return true
  }

  #count(fault: Exclude<RequestFault, 'starved'>): void {
    if (fault === 'dump') this.stats.refusedDumps += 1
    else this.stats[fault] += 1
  }
}
