// The side of a terminator that clients see: listens, passes each connection to the TLS server of the virtual host
// that it asks for, resumes sessions from the cache, and counts.
//
// Each virtual host has its own TLS server, which does not listen. So OpenSSL itself binds a session to the context
// of its host: within one server a session is chosen before the certificate is.

import { constants } from 'node:crypto'
import { createServer as createTcpServer, type Socket, type Server as TcpServer } from 'node:net'
import { createServer as createTlsServer, type Server, type TLSSocket } from 'node:tls'
import { createAddressMatcher, type HostAddress, type Subnet } from '../base/address.ts'
import { codeOf, messageOf } from '../base/errors.ts'
import { type Clock, type Logger, LogLimiter, type Timer } from '../base/world.ts'
import { readHello } from '../hooks/hello-peek.ts'
import type { SessionHooks } from '../hooks/hooks.ts'
import { attachSessionCache, type SessionCacheBinding } from '../hooks/node-tls.ts'
import { listenOn } from '../streams/listener.ts'
import { type Endpoints, isLikeProxyHeader, readProxyHeader } from './proxy-protocol.ts'
import type { Revocations } from './revocation.ts'
import {
  createTerminatorStats,
  type FailureReason,
  failureReason,
  type TerminatorStats,
  type TlsVersion,
} from './stats.ts'
import type { VirtualHost, VirtualHosts } from './virtual-hosts.ts'

export interface TlsFrontOptions {
  readonly listen: readonly HostAddress[]
  readonly hosts: VirtualHosts
  readonly hooks: SessionHooks
  /** Longest wait for the cache in one handshake step. */
  readonly deadlineMs?: number
  readonly minVersion: TlsVersion
  readonly maxVersion: TlsVersion
  /** Application protocols, best first. */
  readonly alpn?: readonly string[]
  /** PEM text of authorities; clients must present a certificate that one of them signed. */
  readonly clientCa?: string
  /** Revocation lists of the authorities in `clientCa`. */
  readonly revocations?: Revocations
  /** Lifetime of the sessions that are created here. */
  readonly sessionTimeoutSec: number
  readonly handshakeTimeoutMs: number
  /** Balancers, whose connections must begin with a PROXY header; those of others must not. */
  readonly balancers?: readonly Subnet[]
  /** Most client connections open at once; more are closed at once. */
  readonly maxConnections: number
  /** Takes over a client whose handshake is done. */
  readonly serve: (client: TLSSocket, origin: ClientOrigin) => void
  readonly clock: Clock
  readonly logger: Logger
}

/** What is known of a client besides its TLS socket. */
export interface ClientOrigin {
  /**
   * Addresses of both ends of the client's connection, taken from the PROXY header of a balancer if there is one.
   */
  endpoints: Endpoints
  /** Server name (SNI) that the client sent, '' when there is none. */
  serverName: string
}

/** Certificates, and the authorities and revocation lists for clients: the options that can be reloaded. */
export type FrontIdentity = Pick<TlsFrontOptions, 'hosts' | 'clientCa' | 'revocations'>

interface Connection {
  readonly socket: Socket
  readonly handshakeTimer: Timer
  readonly origin: ClientOrigin
  isSecure: boolean
  /** Whether the connection is a health check of a balancer: its end before a ClientHello is no failure. */
  isHealthCheck: boolean
  failure: FailureReason
}

export class TlsFront {
  readonly #options: TlsFrontOptions
  readonly #stats = createTerminatorStats()
  readonly #isBalancer: (host: string) => boolean
  readonly #refusals: LogLimiter
  readonly #listeners: TcpServer[] = []
  #identity: FrontIdentity
  #servers = new Map<VirtualHost, Server>()
  #bindings: SessionCacheBinding[] = []
  /** Bindings of the servers before a reload, by the timer that detaches them. */
  readonly #retired = new Map<Timer, readonly SessionCacheBinding[]>()
  /** Open connections by the addresses and ports of both ends, which identify a connection while it is open. */
  readonly #connections = new Map<string, Connection>()
  /** Connections that ended a moment ago without a handshake and are not counted yet. */
  readonly #ended = new Set<Connection>()
  /** Callbacks to run when no connection is open. */
  readonly #onEmpty: (() => void)[] = []

  /** Throws Node's own error for certificates and options that it cannot use. */
  constructor(options: TlsFrontOptions) {
    this.#options = options
    this.#identity = options
    this.#isBalancer = createAddressMatcher(options.balancers ?? [])
    this.#refusals = new LogLimiter(options)
    this.#createServers()
  }

  /**
   * Uses other certificates, authorities and revocation lists for handshakes that begin from now on; connections
   * stay. Throws Node's own error for certificates that it cannot use, and then nothing changes.
   */
  reload(identity: FrontIdentity): void {
    const [before, servers, bindings] = [this.#identity, this.#servers, this.#bindings]
    try {
      this.#identity = identity
      this.#createServers()
    } catch (error) {
      this.#identity = before
      this.#servers = servers
      this.#bindings = bindings
      throw error
    }
    // A handshake ends with the server that it began with, so the old bindings stay for that long.
    const timer = this.#options.clock.after(this.#options.handshakeTimeoutMs, () => {
      detachAll(bindings)
      this.#retired.delete(timer)
    })
    this.#retired.set(timer, bindings)
  }

  #createServers(): void {
    this.#servers = new Map()
    this.#bindings = []
    for (const host of this.#identity.hosts.all) this.#servers.set(host, this.#createServer(host))
  }

  /**
   * Starts to listen and resolves with the addresses and the ports that the kernel chose. Rejects with ERR_LISTEN.
   */
  async start(): Promise<readonly HostAddress[]> {
    try {
      return await this.#listen()
    } catch (error) {
      await this.stop()
      throw error
    }
  }

  /** Stops accepting and resolves when the last connection has ended; those left after `drainMs` are cut off. */
  async stop(drainMs = 0): Promise<void> {
    for (const server of this.#listeners.splice(0)) server.close()
    if (drainMs === 0) this.#breakOff()
    const timer = this.#options.clock.after(drainMs, () => this.#breakOff())
    if (this.#connections.size > 0) {
      await new Promise<void>((resolve) => this.#onEmpty.push(resolve))
    }
    timer.cancel()
    detachAll(this.#bindings)
    for (const [retirement, bindings] of this.#retired) {
      retirement.cancel()
      detachAll(bindings)
    }
    this.#retired.clear()
  }

  /**
   * Returns a copy of the counters; those of the cache, the backends and the log are counted elsewhere and empty
   * here.
   */
  readStats(): TerminatorStats {
    return { ...structuredClone(this.#stats), connections: this.#connections.size }
  }

  async #listen(): Promise<readonly HostAddress[]> {
    const bound: HostAddress[] = []
    for (const address of this.#options.listen) {
      // A client that ends its side before the handshake is over has given up, so the socket is not half-open
      // until then. The TLS socket takes this setting from the TCP socket; #serve changes it.
      const server = createTcpServer({ allowHalfOpen: false, noDelay: true, keepAlive: true })
      server.on('connection', (socket: Socket) => this.#accept(socket))
      bound.push(await listenOn(server, address, 'listen'))
      this.#listeners.push(server)
      server.on('error', (error) => {
        const reason = messageOf(error)
        this.#options.logger.warn({ reason }, 'a connection could not be accepted')
      })
    }
    return bound
  }

  #createServer(host: VirtualHost): Server {
    const { clientCa, revocations } = this.#identity
    const { alpn, hooks, deadlineMs, clock, logger } = this.#options
    const server = createTlsServer({
      cert: host.cert,
      key: host.key,
      minVersion: `TLSv${this.#options.minVersion}`,
      maxVersion: `TLSv${this.#options.maxVersion}`,
      // With a ticket the client would store the session itself, and the cache would get no lookup.
      secureOptions: constants.SSL_OP_NO_TICKET,
      sessionIdContext: host.context,
      sessionTimeout: this.#options.sessionTimeoutSec,
      ...(alpn !== undefined && { ALPNProtocols: [...alpn] }),
      ...(clientCa !== undefined && { ca: clientCa, requestCert: true, rejectUnauthorized: true }),
      ...(revocations !== undefined && { crl: [...revocations.pems] }),
    })
    const { context } = host
    const shared = { context, clock, logger, ...(deadlineMs !== undefined && { deadlineMs }) }
    this.#bindings.push(attachSessionCache(server, hooks, shared))
    server.on('secureConnection', (socket) => this.#serve(socket))
    server.on('tlsClientError', (error, socket) => this.#fail(error, socket))
    return server
  }

  #accept(socket: Socket): void {
    const endpoints = endpointsOf(socket)
    // A connection that was reset before it was accepted has no addresses.
    if (endpoints === undefined || this.#connections.size >= this.#options.maxConnections) {
      if (endpoints !== undefined) this.#stats.refused += 1
      socket.destroy()
      return
    }
    const key = keyOf(endpoints)
    const { clock, handshakeTimeoutMs } = this.#options
    const connection: Connection = {
      socket,
      origin: { endpoints, serverName: '' },
      handshakeTimer: clock.after(handshakeTimeoutMs, () => {
        connection.failure = 'timeout'
        socket.destroy()
      }),
      isSecure: false,
      isHealthCheck: false,
      failure: 'closed',
    }
    this.#connections.set(key, connection)
    socket.once('close', () => this.#forget(key, connection))
    // A reset socket closes by itself. Without a listener here a reset before the ClientHello would end this process.
    socket.on('error', () => {})
    // A client that ends together with its ClientHello cannot finish the handshake. Everything after the
    // ClientHello is read by the TLS socket, so this event never means the end of an established connection.
    socket.once('end', () => socket.destroy())
    if (!this.#isBalancer(endpoints.sourceHost)) {
      this.#readHello(connection)
      return
    }
    readProxyHeader(socket, (header) => {
      if ('problem' in header) {
        this.#refuse(connection, 'proxy_header', header.problem)
        return
      }
      connection.isHealthCheck = header.endpoints === undefined
      connection.origin.endpoints = header.endpoints ?? endpoints
      this.#readHello(connection)
    })
  }

  #readHello(connection: Connection): void {
    const { socket, origin } = connection
    const { clock } = this.#options
    const { hosts } = this.#identity
    readHello(socket, clock, (hello) => {
      connection.isHealthCheck = false
      if (hello === undefined && beginsWithProxyHeader(socket)) {
        const problem =
          'a PROXY header came from an address that accept_proxy_protocol does not list'
        this.#refuse(connection, 'proxy_unlisted', problem)
        return
      }
      origin.serverName = hello?.serverName ?? ''
      if (socket.readableEnded) socket.destroy()
      else this.#servers.get(hosts.find(origin.serverName))?.emit('connection', socket)
    })
  }

  #refuse(connection: Connection, reason: FailureReason, problem: string): void {
    connection.failure = reason
    const address = connection.socket.remoteAddress ?? ''
    this.#refusals.warn(() => ({ address, problem }), 'a connection was refused')
    connection.socket.destroy()
  }

  #serve(client: TLSSocket): void {
    const connection = this.#connectionOf(client)
    if (connection === undefined) {
      client.destroy()
      return
    }
    connection.handshakeTimer.cancel()
    // OpenSSL has checked the certificate in a full handshake, and does not look at it again in a resumed one.
    const certificate = this.#identity.revocations && client.getPeerX509Certificate()
    if (certificate && this.#identity.revocations?.isRevoked(certificate)) {
      connection.failure = 'client_certificate'
      client.destroy()
      return
    }
    connection.isSecure = true
    // From now on a client may end its side first and still get its answer: see relay.ts.
    client.allowHalfOpen = true
    const version = client.getProtocol() === 'TLSv1.3' ? '1.3' : '1.2'
    this.#stats.handshakes[version][client.isSessionReused() ? 'resumed' : 'full'] += 1
    this.#options.serve(client, connection.origin)
  }

  #connectionOf(client: TLSSocket): Connection | undefined {
    const endpoints = endpointsOf(client)
    return endpoints && this.#connections.get(keyOf(endpoints))
  }

  #fail(error: Error, client: TLSSocket): void {
    const connection = this.#connectionOf(client) ?? this.#firstUnexplained()
    if (connection === undefined || connection.failure !== 'closed') return
    const isUntrusted = Boolean(client.authorizationError)
    connection.failure = failureReason(codeOf(error) ?? '', isUntrusted)
    this.#options.logger.debug({ reason: messageOf(error) }, 'a TLS handshake failed')
  }

  #forget(key: string, connection: Connection): void {
    connection.handshakeTimer.cancel()
    // The client may have come back from the same port before this one was closed here.
    if (this.#connections.get(key) === connection) this.#connections.delete(key)
    const isFailure = !connection.isSecure && !connection.isHealthCheck
    if (isFailure) this.#countFailure(connection)
    if (this.#connections.size > 0) return
    for (const proceed of this.#onEmpty.splice(0)) proceed()
  }

  /**
   * Returns a connection that ended just now without a reason. Node reports an untrusted client certificate only
   * after the connection has closed and its addresses are unknown; giving the reason to any of these connections
   * keeps the sums right.
   */
  #firstUnexplained(): Connection | undefined {
    for (const connection of this.#ended) if (connection.failure === 'closed') return connection
    return undefined
  }

  /** Counts the failure one turn later, when Node has reported its reason. */
  #countFailure(connection: Connection): void {
    this.#ended.add(connection)
    this.#options.clock.soon(() => {
      this.#ended.delete(connection)
      this.#stats.failures[connection.failure] += 1
    })
  }

  #breakOff(): void {
    for (const { socket } of this.#connections.values()) socket.destroy()
  }
}

function detachAll(bindings: readonly SessionCacheBinding[]): void {
  for (const binding of bindings) binding.detach()
}

/** Whether the bytes in the read buffer begin with a PROXY header. They stay in the buffer. */
function beginsWithProxyHeader(socket: Socket): boolean {
  const bytes: unknown = socket.read()
  if (!Buffer.isBuffer(bytes)) return false
  socket.unshift(bytes)
  return isLikeProxyHeader(bytes)
}

function endpointsOf(socket: Socket): Endpoints | undefined {
  const { remoteAddress, remotePort, localAddress, localPort } = socket
  if (remoteAddress === undefined || remotePort === undefined) return undefined
  if (localAddress === undefined || localPort === undefined) return undefined
  return {
    sourceHost: remoteAddress,
    sourcePort: remotePort,
    destinationHost: localAddress,
    destinationPort: localPort,
  }
}

function keyOf(ends: Endpoints): string {
  return `${ends.sourceHost} ${ends.sourcePort} ${ends.destinationHost} ${ends.destinationPort}`
}
