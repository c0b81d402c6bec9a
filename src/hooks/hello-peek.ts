// Reads the ClientHello of each connection before a Node.js TLS server does, and knows in the server's
// events which connection they are about. Node tells neither the server name nor, in TLS 1.3, the session.
//
// The server's own listener for connections is put behind ours: we read until the ClientHello is there, put
// the bytes back and hand the connection over. What Node then calls for that connection runs in an
// asynchronous context of its own, in which the connection is kept.

import { AsyncLocalStorage } from 'node:async_hooks'
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Server } from 'node:tls'
import type { Clock } from '../base/clock.ts'
import { TlscachedError } from '../base/errors.ts'
import {
  type ClientHello,
  ClientHelloReader,
  MAX_CLIENT_HELLO_BYTES,
} from '../session/client-hello.ts'

/** A client slower than this gets a full handshake, if it gets through at all. */
const PEEK_TIMEOUT_MS = 10_000
/** The function of Node.js that makes a TLS connection of each TCP connection; tls.js has called it so since Node.js 10. */
const OWN_LISTENER_NAME = 'tlsConnectionListener'

type ConnectionListener = (this: Server, socket: Duplex) => void

/** One connection that a TLS server was given; the same object in all events of its handshake. */
export interface PeekedConnection {
  /** undefined: what the client sent is no ClientHello, or came too slowly to be read. */
  readonly hello: ClientHello | undefined
}

export class HelloPeek {
  readonly #server: Server
  readonly #clock: Clock
  readonly #connections = new AsyncLocalStorage<PeekedConnection>()
  readonly #ownListener: ConnectionListener
  readonly #onConnection = (socket: Duplex) => this.#peek(socket)
  #isAttached = false

  /** Throws ERR_SERVER when it is not plain which listener makes the TLS connections. */
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

  /** Connections that are being read are handed over all the same. */
  detach(): void {
    if (!this.#isAttached) return
    this.#isAttached = false
    this.#server.off('connection', this.#onConnection)
    this.#server.prependListener('connection', this.#ownListener)
  }

  /** The connection that the event now handled is about; undefined outside such an event. */
  get current(): PeekedConnection | undefined {
    return this.#connections.getStore()
  }

  #peek(socket: Duplex): void {
    const handOver = (hello: ClientHello | undefined) => {
      this.#connections.run({ hello }, () => this.#ownListener.call(this.#server, socket))
    }
    // Node itself reports clients that leave in the middle of a handshake by this event, ECONNRESET.
    const onGone = (error: Error) => this.#server.emit('tlsClientError', error, socket)
    readHello(socket, this.#clock, handOver, onGone)
  }
}

/**
 * Node's own listener, by its name, so that no other listener of the program is taken for it. A release that names it
 * differently is understood as long as nobody else listens.
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
      : "the TLS server has several 'connection' listeners, and which one is of Node.js cannot be told: " +
          'attach the session cache before other listeners are added',
  )
}

/**
 * Reads until the ClientHello is there, puts the bytes back and calls `done` once: with undefined when they are none or come
 * too slowly. A client that ends or breaks off before its ClientHello is complete is destroyed and reported to `onGone`.
 *
 * Bytes that were read already (`unshift`) are looked at within this call. So a complete ClientHello is handed over
 * before the caller's next statement, and a caller that resumes the socket in the next tick finds it in TLS.
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
    // Its 'close' follows, which ends the wait.
    if (socket.destroyed) return
    stopWaiting()
    if (bytes.length > 0) socket.unshift(bytes)
    endWithClient(socket)
    done(hello)
    // While somebody listens for 'readable' the stream does not flow, whoever resumes it. TLS takes what was put back
    // in its next tick, which is queued already.
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
 * Ends a handshake whose client sent the end of its stream right behind its ClientHello. The socket has read that end before
 * TLS takes over, so TLS would wait for it in vain. Other streams than sockets pass their end on by themselves.
 */
function endWithClient(socket: Duplex): void {
  if (socket instanceof Socket) socket.once('end', () => socket.destroy())
}

/** A client that ended its stream before it had sent its ClientHello, with the code that Node has for that. */
class ClientGone extends Error {
  readonly code = 'ECONNRESET'

  constructor() {
    super('socket hang up')
  }
}
