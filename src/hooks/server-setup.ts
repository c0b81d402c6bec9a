// How a Node.js TLS server has to be set up so that its sessions can be resumed from a cache. The setup is checked when
// the server is joined, kept when its certificate is renewed, and recognised in other servers of the process.

import { constants } from 'node:crypto'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { DEFAULT_MAX_VERSION, type SecureContextOptions, Server } from 'node:tls'
import { TlscachedError } from '../base/errors.ts'
import { isSameBytes } from '../session/encoded-session.ts'

/** Channel on which Node.js publishes each connection that any server of the process accepts (diagnostics_channel). */
const ACCEPTED_CHANNEL = 'net.server.socket'

const TICKETS_ON =
  'the TLS server hands out session tickets and never asks a cache: ' +
  'set its secureOptions to crypto.constants.SSL_OP_NO_TICKET'
const OTHER_CONTEXT =
  'the TLS server has another session ID context: ' +
  'set its sessionIdContext to the context given here, on every server that shares sessions'

const NO_SERVER =
  'it is no TLS server: give what tls.createServer, https.createServer or http2.createSecureServer returns, and of a ' +
  'framework the server in it, as app.server of fastify'

/** Throws ERR_SERVER for what is no TLS server at all. */
export function checkIsServer(server: unknown): void {
  const isServer =
    typeof server === 'object' &&
    server !== null &&
    typeof Reflect.get(server, 'setSecureContext') === 'function'
  if (!isServer) throw new TlscachedError('ERR_SERVER', NO_SERVER)
}

/** Throws ERR_SERVER for a server whose sessions would never be stored or found, or whose handshakes would break. */
export function checkServer(server: Server, context: Buffer, readsClientHello: boolean): void {
  const problem = findProblem(server, context)
  if (problem !== undefined) throw new TlscachedError('ERR_SERVER', problem)
  if (readOption(server, 'minVersion') === 'TLSv1.3' && !readsClientHello) {
    throw new TlscachedError(
      'ERR_SERVER',
      'the TLS server speaks TLS 1.3 only, which never finds a session without the ClientHello: ' +
        'set readsClientHello, or its minVersion to TLSv1.2',
    )
  }
  if (server.listenerCount('resumeSession') > 0) {
    throw new TlscachedError(
      'ERR_SERVER',
      "the TLS server has a 'resumeSession' listener already: two answers would break the connection, so take that one out",
    )
  }
}

/** Returns why sessions of this server cannot be resumed from a cache under this context; undefined when they can. */
function findProblem(server: Server, context: Buffer): string | undefined {
  const secureOptions = readOption(server, 'secureOptions')
  const hasNoTicket =
    typeof secureOptions === 'number' && (secureOptions & constants.SSL_OP_NO_TICKET) !== 0
  if (!hasNoTicket) return TICKETS_ON
  const own = readOption(server, 'sessionIdContext')
  const isSame = typeof own === 'string' && isSameBytes(Buffer.from(own, 'utf8'), context)
  return isSame ? undefined : OTHER_CONTEXT
}

/** Whether the server speaks TLS 1.3 with a client that offers it. */
export function speaksTls13(server: Server): boolean {
  const secureOptions = readOption(server, 'secureOptions')
  const isSwitchedOff =
    typeof secureOptions === 'number' && (secureOptions & constants.SSL_OP_NO_TLSv1_3) !== 0
  const secureProtocol = readOption(server, 'secureProtocol')
  const isOneVersion = typeof secureProtocol === 'string' && /^TLSv1/.test(secureProtocol)
  const maxVersion = readOption(server, 'maxVersion') ?? DEFAULT_MAX_VERSION
  return !isSwitchedOff && !isOneVersion && maxVersion === 'TLSv1.3'
}

/** Whether the server turns away a client that shows no certificate. */
export function demandsCertificate(server: Server): boolean {
  return (
    readOption(server, 'requestCert') === true && readOption(server, 'rejectUnauthorized') !== false
  )
}

/** Reads an option that the server was created with; Node.js keeps each as a property of the same name. */
function readOption(server: Server, name: string): unknown {
  return Reflect.get(server, name)
}

/**
 * Makes `server.setSecureContext({ key, cert })`, the documented way to renew a certificate, keep `secureOptions` and
 * `sessionIdContext` when they are not given again: Node.js would reset both to their defaults, and nothing would
 * resume any more. Values that are given apply; when they end resumption, `report` is called with the reason. Returns
 * a function that undoes it.
 */
export function keepSetup(
  server: Server,
  context: Buffer,
  report: (problem: string) => void,
): () => void {
  const own = Object.getOwnPropertyDescriptor(server, 'setSecureContext')
  const original = server.setSecureContext
  const renew = (options: SecureContextOptions) => {
    const kept = {
      secureOptions: readOption(server, 'secureOptions'),
      sessionIdContext: readOption(server, 'sessionIdContext'),
    }
    original.call(server, { ...kept, ...options } as SecureContextOptions)
    const problem = findProblem(server, context)
    if (problem !== undefined) report(problem)
  }
  server.setSecureContext = renew
  return () => {
    if (server.setSecureContext !== renew) return
    if (own === undefined) Reflect.deleteProperty(server, 'setSecureContext')
    else Object.defineProperty(server, 'setSecureContext', own)
  }
}

/**
 * Calls `report` when another TLS server of this process accepts a connection with the setup of `server`, but was not
 * joined to a cache: a framework that listens on `localhost` makes one server for 127.0.0.1 and one for ::1. It looks
 * only while `server` itself listens. Returns a function that ends it.
 */
export function watchSiblings(server: Server, context: Buffer, report: () => void): () => void {
  const onAccepted = (message: unknown) => {
    const sibling = siblingOf(message)
    if (sibling === undefined || sibling === server) return
    if (sibling.listenerCount('resumeSession') > 0) return
    if (findProblem(sibling, context) === undefined) report()
  }
  const begin = () => subscribe(ACCEPTED_CHANNEL, onAccepted)
  const end = () => unsubscribe(ACCEPTED_CHANNEL, onAccepted)
  if (server.listening) begin()
  server.on('listening', begin)
  server.on('close', end)
  return () => {
    server.off('listening', begin)
    server.off('close', end)
    end()
  }
}

/** Returns the TLS server that accepted the connection of this message; undefined when the server is not one of TLS. */
function siblingOf(message: unknown): Server | undefined {
  if (typeof message !== 'object' || message === null) return undefined
  const socket: unknown = Reflect.get(message, 'socket')
  if (typeof socket !== 'object' || socket === null) return undefined
  const server: unknown = Reflect.get(socket, 'server')
  return server instanceof Server ? server : undefined
}
