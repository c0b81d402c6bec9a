// One TLS connection as a client makes it: a handshake, the session that it brings, a proper end. It sends no data of
// an application.

import { constants } from 'node:crypto'
import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import type { HostAddress } from '../base/address.ts'
import { codeOf, messageOf } from '../base/errors.ts'
import type { Clock } from '../base/world.ts'
import { type ClientSession, readClientSession } from './client-session.ts'
import { type StartTlsProtocol, startTls } from './starttls.ts'

export const TLS_VERSIONS = ['1.2', '1.3'] as const
export type TlsVersion = (typeof TLS_VERSIONS)[number]

/** Why there was no handshake. */
export const FAILURES = [
  'unreachable',
  'timeout',
  'starttls',
  'not_tls',
  'version',
  'refused',
] as const
export type Failure = (typeof FAILURES)[number]

/** What stays the same for all handshakes of a run. */
export interface ClientSettings {
  /** Server name (SNI); undefined sends none. */
  readonly serverName?: string | undefined
  readonly startTls?: StartTlsProtocol | undefined
  /** PEM: certificate and key of the client, and the authorities that the servers' certificates must come from. */
  readonly cert?: string | undefined
  readonly key?: string | undefined
  readonly ca?: string | undefined
  /** Longest time of a connection, from the first packet to the end of the handshake and its session. */
  readonly timeoutMs: number
}

export interface HandshakeRequest {
  readonly version: TlsVersion
  /** False for a client that knows no tickets in TLS 1.2; TLS 1.3 has nothing else. */
  readonly takesTickets: boolean
  /** Encoded session that is offered; undefined for a full handshake. */
  readonly session?: Buffer
}

export interface Handshake {
  readonly isResumed: boolean
  /** Duration of the TLS handshake, without the connection before it. */
  readonly durationMs: number
  /** The session that the server gave; undefined when it gave none, and where one was offered. */
  readonly session: ClientSession | undefined
  /** SHA-256 of the server's certificate in hex, 64 digits. */
  readonly certificate: string
  /** Why the certificate is not trusted; undefined when it is, and where no authorities are given. */
  readonly distrust: string | undefined
}

/** The server gave no handshake, for a reason of a closed set. */
export class HandshakeError extends Error {
  override readonly name = 'HandshakeError'
  readonly failure: Failure

  constructor(failure: Failure, message: string, options?: ErrorOptions) {
    super(message, options)
    this.failure = failure
  }
}

/** Makes one connection. Rejects with HandshakeError only. */
export type ShakeHands = (address: HostAddress, request: HandshakeRequest) => Promise<Handshake>

/** In TLS 1.3 the session comes after the handshake; servers send it with their first bytes, or never. */
const LATE_SESSION_MS = 1000
/** How long the server's own end is waited for, after which the connection is cut. */
const GOODBYE_MS = 500
const UNREACHABLE = new Set([
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EHOSTDOWN',
  'ETIMEDOUT',
  'EADDRNOTAVAIL',
])
/** Texts of OpenSSL, in which the words are parted by blanks or underscores. */
const NO_SUCH_VERSION = /protocol.version|unsupported.protocol|no.protocols.available/i
const NOT_TLS = /wrong.version.number|packet.length.too.long|http.request/i

export function createClient(clock: Clock, settings: ClientSettings): ShakeHands {
  return async (address, request) => {
    const connection = new Connection(clock, settings)
    try {
      return await connection.run(address, request)
    } finally {
      await connection.end()
    }
  }
}

class Connection {
  readonly #clock: Clock
  readonly #settings: ClientSettings
  #socket: Socket | undefined
  #isLate = false

  constructor(clock: Clock, settings: ClientSettings) {
    this.#clock = clock
    this.#settings = settings
  }

  async run(address: HostAddress, request: HandshakeRequest): Promise<Handshake> {
    const { timeoutMs } = this.#settings
    const timer = this.#clock.after(timeoutMs, () => {
      this.#isLate = true
      this.#socket?.destroy(new Error('late'))
    })
    try {
      const tcp = await this.#connect(address)
      return await this.#shakeHands(tcp, request)
    } catch (error) {
      throw this.#isLate
        ? new HandshakeError('timeout', `no handshake within ${timeoutMs / 1000} s`)
        : toHandshakeError(error)
    } finally {
      timer.cancel()
    }
  }

  /** Ends the connection as a client should, so that no server takes its session for broken. */
  async end(): Promise<void> {
    const socket = this.#socket
    if (socket === undefined || socket.closed) return
    // The handshake is over, or has failed already.
    socket.on('error', () => {})
    await new Promise<void>((resolve) => {
      const timer = this.#clock.after(GOODBYE_MS, () => socket.destroy())
      socket.once('close', () => {
        timer.cancel()
        resolve()
      })
      socket.resume()
      socket.end()
    })
  }

  async #connect(address: HostAddress): Promise<Socket> {
    const socket = connectTcp({ host: address.host, port: address.port, noDelay: true })
    this.#socket = socket
    await eventOf(socket, 'connect')
    const { startTls: protocol } = this.#settings
    if (protocol === undefined) return socket
    try {
      await startTls(socket, protocol)
    } catch (error) {
      throw new HandshakeError('starttls', messageOf(error), { cause: error })
    }
    return socket
  }

  async #shakeHands(tcp: Socket, request: HandshakeRequest): Promise<Handshake> {
    const { serverName, cert, key, ca } = this.#settings
    const version = `TLSv${request.version}` as const
    const startMs = this.#clock.monotonicMs()
    const socket = connectTls({
      socket: tcp,
      minVersion: version,
      maxVersion: version,
      // What is asked is whether sessions resume: an unknown certificate is reported, and does not end the connection.
      rejectUnauthorized: false,
      ...(request.takesTickets ? {} : { secureOptions: constants.SSL_OP_NO_TICKET }),
      ...(serverName !== undefined && { servername: serverName }),
      ...(cert !== undefined && { cert }),
      ...(key !== undefined && { key }),
      ...(ca !== undefined && { ca }),
      ...(request.session !== undefined && { session: request.session }),
    })
    this.#socket = socket
    const sessionCame = this.#sessionOf(socket)
    sessionCame.catch(() => {})
    await eventOf(socket, 'secureConnect')
    const durationMs = this.#clock.monotonicMs() - startMs
    const isWanted = request.session === undefined
    const bytes = isWanted && (version === 'TLSv1.3' ? await sessionCame : socket.getSession())
    return {
      isResumed: socket.isSessionReused(),
      durationMs,
      session: bytes ? readClientSession(bytes) : undefined,
      certificate: (socket.getPeerX509Certificate()?.fingerprint256 ?? '')
        .replaceAll(':', '')
        .toLowerCase(),
      distrust: ca === undefined || socket.authorized ? undefined : `${socket.authorizationError}`,
    }
  }

  /** The session that comes as a message of its own; undefined when the server sends none in time or closes. */
  #sessionOf(socket: TLSSocket): Promise<Buffer | undefined> {
    return new Promise((resolve, reject) => {
      socket.once('session', resolve)
      socket.once('error', reject)
      socket.once('close', () => resolve(undefined))
      socket.once('end', () => resolve(undefined))
      socket.once('secureConnect', () => {
        socket.resume()
        const timer = this.#clock.after(LATE_SESSION_MS, () => resolve(undefined))
        socket.once('session', () => timer.cancel())
        socket.once('close', () => timer.cancel())
      })
    })
  }
}

/** Resolves with the event; rejects when the connection fails or ends before. */
function eventOf(socket: Socket, event: 'connect' | 'secureConnect'): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (error: Error) => settle(() => reject(error))
    const onClose = () => settle(() => reject(new Error('the server closed the connection')))
    const onEvent = () => settle(resolve)
    const settle = (done: () => void) => {
      socket.off('error', onError).off('close', onClose).off(event, onEvent)
      done()
    }
    socket.on('error', onError).on('close', onClose).on(event, onEvent)
  })
}

function toHandshakeError(error: unknown): HandshakeError {
  if (error instanceof HandshakeError) return error
  const code = codeOf(error) ?? ''
  const said = `${code} ${messageOf(error)}`
  if (UNREACHABLE.has(code)) return new HandshakeError('unreachable', code, { cause: error })
  if (NO_SUCH_VERSION.test(said)) return toError('version', error)
  if (NOT_TLS.test(said)) return toError('not_tls', error)
  return toError('refused', error)
}

/** OpenSSL's messages end in lines with files of its source: only the reason is for people. */
function toError(failure: Failure, error: unknown): HandshakeError {
  const message = messageOf(error).trim()
  const [, reason] = /:SSL routines:[^:]*:([^:]+):/.exec(message) ?? []
  return new HandshakeError(failure, reason ?? message, { cause: error })
}
