// The socket of an accepted connection, at less cost than the streams of Node.js: input is read into one piece of
// memory that all connections share, and answers go to the kernel in one plain write (measured: a get takes a fifth
// less processor time).
//
// Node.js offers such reading (`onread`) only to sockets that connect, so a new socket takes over the handle of the
// accepted one. Handles are not documented: when sockets of a release have none, or do not read into the memory that
// they are given, everything goes through the stream, and `isFast` is false.

import { writeSync } from 'node:fs'
import { Socket, type SocketConstructorOpts } from 'node:net'
import { codeOf } from '../../../base/errors.ts'

export interface SocketUser {
  /** The first `length` bytes came in; they are valid until this returns. */
  received(bytes: Buffer, length: number): void
  /** The peer has ended its side: nothing more comes in. */
  ended(): void
  /** All bytes that waited have been sent. */
  drained(): void
  closed(): void
}

/** The handle inside a socket of Node.js, which is not documented. */
interface Handle {
  /** File descriptor; negative when there is none. */
  readonly fd: number
  useUserBuffer?: unknown
}

interface TakeOverOptions extends SocketConstructorOpts {
  readonly handle: Handle
  readonly onread: { readonly buffer: Buffer; readonly callback: (length: number) => boolean }
}

export class ClientSocket {
  readonly #socket: Socket
  /** File descriptor for plain writes; undefined when answers go through the stream. */
  readonly #fd: number | undefined
  /** Whether answers wait in the stream. */
  #isBehind = false
  /** Whether nothing may be sent any more: the descriptor may be closed by then, and reused for another file. */
  #isOver = false

  /**
   * `accepted` is from a server with `allowHalfOpen` and `pauseOnConnect`; nobody else may use it from now on. Its data
   * is read into `input`.
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
    // A reset by the peer ends the connection and is not logged.
    this.#socket.on('error', () => this.destroy())
    this.#socket.on('end', () => user.ended())
    this.#socket.on('drain', () => user.drained())
    this.#socket.on('close', () => user.closed())
  }

  /** Whether the socket is read and written without the stream. */
  get isFast(): boolean {
    return this.#fd !== undefined
  }

  /** Bytes that wait until the peer reads. */
  get waitingBytes(): number {
    // Bytes hardly ever wait, and asking the stream takes time.
    if (!this.#isBehind) return 0
    const { writableLength } = this.#socket
    this.#isBehind = writableLength > 0
    return writableLength
  }

  /** Sends `length` bytes from `start` on. The caller may overwrite them as soon as this returns. */
  send(bytes: Buffer, start: number, length: number): void {
    if (this.#isOver) return
    const sent = this.waitingBytes === 0 ? this.#sendNow(bytes, start, length) : 0
    if (sent === length) return
    this.#socket.write(Buffer.from(bytes.subarray(start + sent, start + length)))
    this.#isBehind = true
    // If the write failed, the 'error' event comes later, but the socket is destroyed by now.
    this.#isOver = this.#socket.destroyed
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  /** Ends the sending side after the bytes that were sent. */
  end(): void {
    this.#isOver = true
    this.#socket.end()
  }

  destroy(): void {
    this.#isOver = true
    this.#socket.destroy()
  }

  /** Returns how many bytes need no more sending: those that the kernel took, or all when the connection is lost. */
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

/** Returns a function that ends the watch and says whether the handle was given memory to read into meanwhile. */
function watchUse(handle: Handle): () => boolean {
  let isUsed = false
  const { useUserBuffer } = handle
  // An own property shadows that of the prototype until it is deleted.
  handle.useUserBuffer = (buffer: unknown) => {
    isUsed = true
    if (typeof useUserBuffer === 'function') useUserBuffer.call(handle, buffer)
  }
  return () => {
    delete handle.useUserBuffer
    return isUsed
  }
}

/** Takes the handle out of a socket and destroys the socket; undefined when it has no handle that can be used. */
function takeHandle(socket: Socket): Handle | undefined {
  const owner = socket as unknown as { _handle?: Handle | null }
  const handle = owner._handle
  if (typeof handle?.useUserBuffer !== 'function' || !(handle.fd >= 0)) return undefined
  owner._handle = null
  socket.destroy()
  return handle
}
