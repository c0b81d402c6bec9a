// A client over TCP or a Unix socket that collects what it is told.

import { connect, type Socket } from 'node:net'
import type { Address } from '../../src/base/address.ts'

export class StreamClient {
  readonly socket: Socket
  /** Resolves when the other side has ended the connection, or it was reset. */
  readonly closed: Promise<void>
  #received = ''
  #arrived: () => void = () => {}

  private constructor(socket: Socket) {
    this.socket = socket
    socket.setEncoding('latin1')
    socket.on('data', (text) => {
      this.#received += text
      this.#arrived()
    })
    // A reset shows as the end of the connection, too.
    socket.on('error', () => {})
    this.closed = new Promise((resolve) => {
      socket.on('close', () => resolve())
    })
  }

  static async connect(address: Address): Promise<StreamClient> {
    const socket = connect(address)
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    return new StreamClient(socket)
  }

  /** What came and was not yet asked for, one character a byte. */
  get received(): string {
    return this.#received
  }

  send(text: string): void {
    this.socket.write(text, 'latin1')
  }

  /** Everything up to and with `end`, when that has come. */
  async until(end: string): Promise<string> {
    while (!this.#received.includes(end)) {
      await new Promise<void>((resolve) => {
        this.#arrived = resolve
      })
    }
    const length = this.#received.indexOf(end) + end.length
    const text = this.#received.slice(0, length)
    this.#received = this.#received.slice(length)
    return text
  }

  close(): void {
    this.socket.destroy()
  }
}
