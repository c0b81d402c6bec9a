// Reads the ClientHello of each connection before a Node.js TLS server does, and knows during the server's events which
// connection they are about. Node.js passes neither the server name nor, in TLS 1.3, the session that a client offers.
//
// Our connection listener replaces the server's own: it reads until the ClientHello is complete, puts the bytes back
// and calls the server's listener. Everything that Node.js then calls for that connection runs in an asynchronous
// context of its own (AsyncLocalStorage), which holds the connection.

import { AsyncLocalStorage } from 'node:async_hooks'
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Server } from 'node:tls'
import { TlscachedError } from '../base/errors.ts'
import type { Clock } from '../base/world.ts'
import {
  type ClientHello,
  ClientHelloReader,
  MAX_CLIENT_HELLO_BYTES,
} from '../session/client-hello.ts'

/** Longest wait for a ClientHello. After that Node.js gets the connection without it, and no session is looked up. */
const PEEK_TIMEOUT_MS = 10_000
/** Name, since Node.js 10, of the function of Node.js that makes a TLS connection out of each TCP connection. */
const OWN_LISTENER_NAME = 'tlsConnectionListener'

type ConnectionListener = (this: Server, socket: Duplex) => void

/** A connection of a TLS server. All events of its handshake see the same object. */
export interface PeekedConnection {
  /** The ClientHello; undefined when the client sent something else, or was too slow. */
  readonly hello: ClientHello | undefined
}

export class HelloPeek {
  readonly #server: Server
  readonly #clock: Clock
  readonly #connections = new AsyncLocalStorage<PeekedConnection>()
  readonly #ownListener: ConnectionListener
  readonly #onConnection = (socket: Duplex) => this.#peek(socket)
  #isAttached = false

  /** Throws ERR_SERVER when it cannot be determined which listener makes the TLS connections. */
  constructor(server: Server, clock: Clock) {
    this.#server = server
    this.#clock = clock
    this.#ownListener = findOwnListener(server)
  }

  attach(): void {
    if (this.#isAttached) return
    this.#isAttached = true
    this.#server.off('connection', this.#ownListener)
    this.#server.prependListener('connection', this.#onConnection)
  }

  /** Gives the server its own listener back. Connections that are being read are still handed over. */
  detach(): void {
    if (!this.#isAttached) return
    this.#isAttached = false
    this.#server.off('connection', this.#onConnection)
    this.#server.prependListener('connection', this.#ownListener)
  }

  /** The connection that the current event is about; undefined outside such an event. */
  get current(): PeekedConnection | undefined {
    return this.#connections.getStore()
  }

  #peek(socket: Duplex): void {
    const handOver = (hello: ClientHello | undefined) => {
      this.#connections.run({ hello }, () => this.#ownListener.call(this.#server, socket))
    }
    // Node.js reports a client that leaves in the middle of a handshake by the same event, with code ECONNRESET.
    const onGone = (error: Error) => this.#server.emit('tlsClientError', error, socket)
    readHello(socket, this.#clock, handOver, onGone)
  }
}

/**
 * Finds the listener of Node.js by its name, so that no listener of the program is taken for it. If a release names it
 * differently, it is still found when it is the only listener.
 */
function findOwnListener(server: Server): ConnectionListener {
  const listeners = server.listeners('connection') as ConnectionListener[]
  const own = listeners.filter(({ name }) => name === OWN_LISTENER_NAME)
  const [found] = own.length > 0 ? own : listeners
  if (found !== undefined && (own.length === 1 || listeners.length === 1)) return found
  throw new TlscachedError(
    'ERR_SERVER',
    found === undefined
      ? 'the TLS server does not take connections'
      : "the TLS server has several 'connection' listeners, and it cannot be known which of them is Node.js's own: " +
          'attach the session cache before other listeners are added',
  )
}

/**
 * Reads until the ClientHello is complete, puts the bytes back and calls `done` once: with undefined when the bytes are
 * no ClientHello or it is not complete after PEEK_TIMEOUT_MS. When the client ends or resets the connection before
 * that, the socket is destroyed and `onGone` is called instead.
 *
 * Bytes that the stream has buffered (`unshift`) are read within this call. So a ClientHello that is complete by then
 * is handed over before the caller's next statement, and a caller that resumes the socket in the next tick finds TLS
 * on it.
 */
export function readHello(
  socket: Duplex,
  clock: Clock,
  done: (hello: ClientHello | undefined) => void,
  onGone: (error: Error) => void = () => {},
): void {
  let bytes = Buffer.alloc(0)
  let isOver = false
  const reader = new ClientHelloReader()
  const handOver = (hello: ClientHello | undefined) => {
    // A destroyed socket emits 'close', which ends the wait.
    if (socket.destroyed) return
    stopWaiting()
    if (bytes.length > 0) socket.unshift(bytes)
    endWithClient(socket)
    done(hello)
    // A stream with a 'readable' listener does not flow, even after resume(). TLS reads the bytes that were put back in
    // a tick that is queued already, so the listener is removed in the tick after it.
    process.nextTick(() => socket.off('readable', onReadable))
  }
  const onReadable = () => {
    if (isOver) return
    for (let chunk = socket.read(); chunk !== null; chunk = socket.read()) {
      bytes = Buffer.concat([bytes, chunk])
      const hello = reader.read(bytes)
      if (hello === 'incomplete' && bytes.length < MAX_CLIENT_HELLO_BYTES) continue
      handOver(hello === 'incomplete' ? undefined : hello)
      return
    }
  }
  const leave = (error?: Error) => {
    stopWaiting()
    socket.off('readable', onReadable)
    socket.destroy()
    onGone(error ?? new ClientGone())
  }
  const onEnd = () => leave()
  const timer = clock.after(PEEK_TIMEOUT_MS, () => handOver(undefined))
  const stopWaiting = () => {
    isOver = true
    timer.cancel()
    socket.off('end', onEnd)
    socket.off('error', leave)
    socket.off('close', onEnd)
  }
  socket.on('readable', onReadable)
  socket.on('end', onEnd)
  socket.on('error', leave)
  socket.on('close', onEnd)
  onReadable()
}

/**
 * Destroys the socket when its client sent the end of the stream right after the ClientHello. The socket reads that end
 * before TLS takes over, so TLS would never see it. Streams that are no sockets pass their end on by themselves.
 */
function endWithClient(socket: Duplex): void {
  if (socket instanceof Socket) socket.once('end', () => socket.destroy())
}

/** The error for a client that left before its ClientHello was complete, with the code and text of Node.js. */
class ClientGone extends Error {
  readonly code = 'ECONNRESET'

  constructor() {
    super('socket hang up')
  }
}
