// The socket of an accepted connection, at less cost than Node's streams have: what comes in is read into one piece
// of memory that all connections share, and answers go to the kernel in one plain write (measured: a get takes a
// fifth less processor time).
//
// Node offers the former, `onread`, to sockets that connect only: so a new socket takes over the handle of the
// accepted one. Handles are not documented: with a Node whose sockets have none, or that does not read into the memory
// given, everything goes through the stream, and `isFast` is false.

import { writeSync } from 'node:fs'
import { Socket, type SocketConstructorOpts } from 'node:net'
import { codeOf } from '../../base/errors.ts'

export interface SocketUser {
  /** The first `length` bytes came in; they hold until this returns. */
  received(bytes: Buffer, length: number): void
  /** Nothing more comes in. */
  ended(): void
  /** Nothing waits to be sent any more. */
  drained(): void
  closed(): void
}

/** What Node's sockets stand on; not documented. */
interface Handle {
  /** Negative where there is none. */
  readonly fd: number
  useUserBuffer?: unknown
}

interface TakeOverOptions extends SocketConstructorOpts {
  readonly handle: Handle
  readonly onread: { readonly buffer: Buffer; readonly callback: (length: number) => boolean }
}

export class ClientSocket {
  readonly #socket: Socket
  /** Undefined: answers go through the stream. */
  readonly #fd: number | undefined
  /** Whether answers wait in the stream. */
  #isBehind = false
  /** Whether nothing may be sent any more: its descriptor may be closed by then, and be another one's. */
  #isOver = false

  /**
   * `accepted`: by a server with `allowHalfOpen` and `pauseOnConnect`; nobody else may use it from now on.
   * `input`: what it is read into.
   */
  constructor(accepted: Socket, input: Buffer, user: SocketUser) {
    const handle = takeHandle(accepted)
    if (handle === undefined) {
      this.#socket = accepted
      accepted.on('data', (chunk) => user.received(chunk, chunk.length))
      accepted.resume()
    } else {
      const callback = (length: number) => {
        user.received(input, length)
        return true
      }
      const onread = { buffer: input, callback }
      const options: TakeOverOptions = { handle, onread, allowHalfOpen: true }
      const isUsed = watchUse(handle)
      this.#socket = new Socket(options)
      if (isUsed()) this.#fd = handle.fd
      else this.#socket.on('data', (chunk) => user.received(chunk, chunk.length))
    }
    // A reset by the peer is as good as an end.
    this.#socket.on('error', () => this.destroy())
    this.#socket.on('end', () => user.ended())
    this.#socket.on('drain', () => user.drained())
    this.#socket.on('close', () => user.closed())
  }

  /** Whether it reads and writes past the stream. */
  get isFast(): boolean {
    return this.#fd !== undefined
  }

  /** Bytes that wait for the peer to read. */
  get waitingBytes(): number {
    // Hardly ever does any: then the stream is not asked.
    if (!this.#isBehind) return 0
    const { writableLength } = this.#socket
    this.#isBehind = writableLength > 0
    return writableLength
  }

  /** Sends `length` bytes from `start` on, which are the caller's again when this returns. */
  send(bytes: Buffer, start: number, length: number): void {
    if (this.#isOver) return
    const sent = this.waitingBytes === 0 ? this.#sendNow(bytes, start, length) : 0
    if (sent === length) return
    this.#socket.write(Buffer.from(bytes.subarray(start + sent, start + length)))
    this.#isBehind = true
    // Errors are told later than here.
    this.#isOver = this.#socket.destroyed
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  /** After what was sent nothing comes any more. */
  end(): void {
    this.#isOver = true
    this.#socket.end()
  }

  destroy(): void {
    this.#isOver = true
    this.#socket.destroy()
  }

  /** How many of the bytes are done with: what the kernel took, or all when the connection is lost. */
  #sendNow(bytes: Buffer, start: number, length: number): number {
    if (this.#fd === undefined) return 0
    try {
      return writeSync(this.#fd, bytes, start, length)
    } catch (error) {
      if (codeOf(error) === 'EAGAIN') return 0
      this.destroy()
      return length
    }
  }
}

/** Returns whether, from now on, the handle was given memory to read into. */
function watchUse(handle: Handle): () => boolean {
  let isUsed = false
  const { useUserBuffer } = handle
  // An own property hides the one of the prototype until it is deleted.
  handle.useUserBuffer = (buffer: unknown) => {
    isUsed = true
    if (typeof useUserBuffer === 'function') useUserBuffer.call(handle, buffer)
  }
  return () => {
    delete handle.useUserBuffer
    return isUsed
  }
}

/** The handle of a socket, which thereby loses it; undefined when it has none that can be used. */
function takeHandle(socket: Socket): Handle | undefined {
  const owner = socket as unknown as { _handle?: Handle | null }
  const handle = owner._handle
  if (typeof handle?.useUserBuffer !== 'function' || !(handle.fd >= 0)) return undefined
  owner._handle = null
  socket.destroy()
  return handle
}
