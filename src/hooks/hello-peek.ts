// Reads the ClientHello of each connection before a Node.js TLS server does, and knows in the server's
// events which connection they are about. Node tells neither the server name nor, in TLS 1.3, the session.
//
// The server's own listener for connections is put behind ours: we read until the ClientHello is there, put
// the bytes back and hand the connection over. What Node then calls for that connection runs in an
// asynchronous context of its own, in which the ClientHello is kept.

import { AsyncLocalStorage } from 'node:async_hooks'
import type { Socket } from 'node:net'
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

type ConnectionListener = (this: Server, socket: Socket) => void

export class HelloPeek {
  readonly #server: Server
  readonly #clock: Clock
  readonly #hellos = new AsyncLocalStorage<ClientHello | undefined>()
  /** The server's own, registered by its constructor and so the first one. */
  readonly #ownListener: ConnectionListener
  readonly #onConnection = (socket: Socket) => this.#peek(socket)
  #isAttached = false

  /** Throws ERR_SERVER when nobody takes the server's connections. */
  constructor(server: Server, clock: Clock) {
    const [ownListener] = server.listeners('connection')
    if (ownListener === undefined) {
      throw new TlscachedError('ERR_SERVER', 'the TLS server does not take connections')
    }
    this.#server = server
    this.#clock = clock
    this.#ownListener = ownListener as ConnectionListener
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

  /** The ClientHello of the connection that the event now handled is about, when it could be read. */
  get current(): ClientHello | undefined {
    return this.#hellos.getStore()
  }

  #peek(socket: Socket): void {
    readHello(socket, this.#clock, (hello) => {
      this.#hellos.run(hello, () => this.#ownListener.call(this.#server, socket))
    })
  }
}

/**
 * Reads until the ClientHello is there, puts the bytes back and calls `done` once: with undefined when they
 * are none or come too slowly, and not at all when the client goes away before.
 */
export function readHello(
  socket: Socket,
  clock: Clock,
  done: (hello: ClientHello | undefined) => void,
): void {
  let bytes = Buffer.alloc(0)
  const reader = new ClientHelloReader()
  const handOver = (hello: ClientHello | undefined) => {
    stopReading()
    if (socket.destroyed) return
    if (bytes.length > 0) socket.unshift(bytes)
    done(hello)
  }
  const onReadable = () => {
    for (let chunk = socket.read(); chunk !== null; chunk = socket.read()) {
      bytes = Buffer.concat([bytes, chunk])
      const hello = reader.read(bytes)
      const isMoreAllowed = bytes.length < MAX_CLIENT_HELLO_BYTES
      if (hello === 'incomplete' && isMoreAllowed) continue
      handOver(hello === 'incomplete' ? undefined : hello)
      return
    }
  }
  // Who ends before the ClientHello is there will not shake hands any more.
  const onEnd = () => {
    stopReading()
    socket.destroy()
  }
  const timer = clock.after(PEEK_TIMEOUT_MS, () => handOver(undefined))
  const stopReading = () => {
    timer.cancel()
    socket.off('readable', onReadable)
    socket.off('end', onEnd)
    socket.off('error', onEnd)
    socket.off('close', onEnd)
  }
  socket.on('readable', onReadable)
  socket.on('end', onEnd)
  socket.on('error', onEnd)
  socket.on('close', onEnd)
}
