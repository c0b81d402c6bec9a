// A small TLS terminator: answers each connection's first line with one short text, which says whether the
// handshake resumed a session. For the demo, and to try a cluster with any TLS client.

import type { TLSSocket } from 'node:tls'
import type { HostAddress } from '../base/address.ts'
import { type Clock, systemClock } from '../base/clock.ts'
import { TlscachedError } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import type { SessionHooks } from '../hooks/hooks.ts'
import type { TerminatorStats } from './stats.ts'
import { TlsFront } from './tls-front.ts'
import { VirtualHosts } from './virtual-hosts.ts'

/** Longest life of a connection after its handshake. */
const CONNECTION_MS = 10_000
const HANDSHAKE_MS = 10_000
/** Longest first line of a request. */
const MAX_LINE_BYTES = 8192
const MAX_CONNECTIONS = 4096
const NEWLINE = 0x0a

export interface TerminatorOptions {
  readonly listen: HostAddress
  /** Name of the node, which the answers contain. */
  readonly node: string
  readonly hooks: SessionHooks
  /** Session ID context, 1..32 bytes in UTF-8. */
  readonly context: string
  /** Key and certificate of the server, as PEM texts. */
  readonly certificate: { readonly key: string; readonly cert: string }
  /** Lifetime of the sessions that are created here. */
  readonly sessionTimeoutSec: number
  readonly deadlineMs?: number
  readonly clock?: Clock
  readonly logger: Logger
}

export interface Terminator {
  /** Address where it listens, with the port that the kernel chose. */
  readonly address: HostAddress
  readStats(): TerminatorStats
  /** Cuts all connections off and frees the port. Idempotent. */
  stop(): Promise<void>
}

/** Starts a terminator. Rejects with ERR_LISTEN when it cannot listen on the address. */
export async function startTerminator(options: TerminatorOptions): Promise<Terminator> {
  const { listen, node, certificate, clock = systemClock, ...rest } = options
  const { cert, key } = certificate
  const front = new TlsFront({
    ...rest,
    clock,
    listen: [listen],
    hosts: new VirtualHosts([{ names: [], context: rest.context, cert: [cert], key: [key] }]),
    minVersion: '1.2',
    maxVersion: '1.2',
    handshakeTimeoutMs: HANDSHAKE_MS,
    maxConnections: MAX_CONNECTIONS,
    serve: (client) => answerFirstLine(client, node, clock),
  })
  const [address] = await front.start()
  if (address === undefined) throw new TlscachedError('ERR_INTERNAL')
  return { address, readStats: () => front.readStats(), stop: () => front.stop() }
}

/**
 * Waits for the end of the first line or of the client's data, then answers and closes. A line above MAX_LINE_BYTES
 * gets no answer.
 */
function answerFirstLine(socket: TLSSocket, node: string, clock: Clock): void {
  const timer = clock.after(CONNECTION_MS, () => socket.destroy())
  socket.once('close', () => timer.cancel())
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
  // A client that disconnects is nothing to report, but an 'error' event without a listener would end the process.
  socket.on('error', () => socket.destroy())
}
