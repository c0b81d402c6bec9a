// A small TLS terminator: answers each connection's first line with one short text, which says whether the
// handshake resumed a session. For the demo, and to try a cluster with any TLS client.

import { constants } from 'node:crypto'
import type { Socket } from 'node:net'
import { createServer, type Server, type TLSSocket } from 'node:tls'
import { formatAddress, type HostAddress } from '../base/address.ts'
import { type Clock, systemClock, type Timer } from '../base/clock.ts'
import { codeOf, messageOf, TlscachedError } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import type { SessionHooks } from '../hooks/hooks.ts'
import { attachSessionCache, type SessionCacheBinding } from '../hooks/node-tls.ts'
import type { SessionCacheStats } from '../hooks/stats.ts'

/** Handshake, request and answer together. */
const CONNECTION_MS = 10_000
/** Longest first line of a request. */
const MAX_LINE_BYTES = 8192
const MAX_CONNECTIONS = 4096
const NEWLINE = 0x0a

export interface TerminatorOptions {
  readonly listen: HostAddress
  /** Name of the node, in the answers. */
  readonly node: string
  readonly hooks: SessionHooks
  /** Session ID context, 1..32 bytes in UTF-8. */
  readonly context: string
  /** PEM. */
  readonly certificate: { readonly key: string; readonly cert: string }
  /** Lifetime that the sessions made here have. */
  readonly sessionTimeoutSec: number
  readonly deadlineMs?: number
  readonly clock?: Clock
  readonly logger: Logger
}

export interface Terminator {
  /** Where it listens, with the port the kernel chose. */
  readonly address: HostAddress
  readonly stats: SessionCacheStats
  /** Breaks off all connections and frees the port. Idempotent. */
  stop(): Promise<void>
}

/** Rejects with ERR_LISTEN when the address cannot be had. */
export async function startTerminator(options: TerminatorOptions): Promise<Terminator> {
  const clock = options.clock ?? systemClock
  const server = createServer({
    ...options.certificate,
    // TLS 1.2 without tickets is what asks a session cache.
    minVersion: 'TLSv1.2',
    maxVersion: 'TLSv1.2',
    secureOptions: constants.SSL_OP_NO_TICKET,
    sessionIdContext: options.context,
    sessionTimeout: options.sessionTimeoutSec,
    allowHalfOpen: true,
  })
  server.maxConnections = MAX_CONNECTIONS
  const { hooks, context, deadlineMs, logger } = options
  const binding = attachSessionCache(server, hooks, {
    context,
    ...(deadlineMs !== undefined && { deadlineMs }),
    clock,
    logger,
  })
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => track(socket, sockets, clock))
  server.on('secureConnection', (socket) => answerFirstLine(socket, options.node))
  server.on('tlsClientError', (error) => {
    logger.debug({ reason: messageOf(error) }, 'a TLS handshake failed')
  })
  await listen(server, options.listen)
  server.on('error', (error) => {
    logger.warn({ reason: messageOf(error) }, 'a connection could not be accepted')
  })
  return new RunningTerminator(server, sockets, binding, options.listen.host)
}

class RunningTerminator implements Terminator {
  readonly address: HostAddress
  readonly stats: SessionCacheStats
  readonly #server: Server
  readonly #sockets: ReadonlySet<Socket>
  readonly #binding: SessionCacheBinding
  #stopped: Promise<void> | undefined

  constructor(
    server: Server,
    sockets: ReadonlySet<Socket>,
    binding: SessionCacheBinding,
    host: string,
  ) {
    this.#server = server
    this.#sockets = sockets
    this.#binding = binding
    this.stats = binding.stats
    const bound = server.address()
    if (bound === null || typeof bound === 'string') throw new TlscachedError('ERR_INTERNAL')
    this.address = { host, port: bound.port }
  }

  stop(): Promise<void> {
    this.#stopped ??= new Promise((resolve) => {
      this.#server.close(() => resolve())
      for (const socket of this.#sockets) socket.destroy()
      this.#binding.detach()
    })
    return this.#stopped
  }
}

function listen(server: Server, address: HostAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error) => {
      const reason = codeOf(error) ?? messageOf(error)
      const message = `cannot listen on ${formatAddress(address)}: ${reason}`
      reject(new TlscachedError('ERR_LISTEN', message, { cause: error }))
    }
    server.once('error', fail)
    server.listen(address.port, address.host, () => {
      server.off('error', fail)
      resolve()
    })
  })
}

/** Remembers a connection while it lasts, which is never longer than CONNECTION_MS. */
function track(socket: Socket, sockets: Set<Socket>, clock: Clock): void {
  const timer: Timer = clock.after(CONNECTION_MS, () => socket.destroy())
  sockets.add(socket)
  socket.once('close', () => {
    timer.cancel()
    sockets.delete(socket)
  })
}

/** Waits until a line has ended or the client has nothing more to say, answers and closes. */
function answerFirstLine(socket: TLSSocket, node: string): void {
  let lineBytes = 0
  let isAnswered = false
  const answer = () => {
    if (isAnswered) return
    isAnswered = true
    const body = `${node} ${socket.isSessionReused() ? 'resumed' : 'full'}\n`
    socket.end(
      `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ${Buffer.byteLength(body)}\r\n` +
        `Connection: close\r\n\r\n${body}`,
    )
  }
  socket.on('data', (chunk: Buffer) => {
    const isLineOver = chunk.includes(NEWLINE)
    lineBytes += chunk.length
    if (isAnswered || isLineOver) answer()
    else if (lineBytes > MAX_LINE_BYTES) socket.destroy()
  })
  socket.on('end', answer)
  // A client that goes away in the middle is no event here.
  socket.on('error', () => socket.destroy())
}
