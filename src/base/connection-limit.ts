// How many connections a server holds: when there are too many, the one that did nothing for longest gives way to the
// new one, so that silent and slow ones keep nobody out. One address has at most half of them.

import type { Socket } from 'node:net'

export class ConnectionLimit {
  readonly #most: number
  readonly #onEvict: () => void
  /** The one that did nothing for longest comes first, here and in each set below. */
  readonly #all = new Set<Socket>()
  readonly #byAddress = new Map<string, Set<Socket>>()

  /** `onEvict` is called for each connection that gave way. */
  constructor(most: number, onEvict: () => void) {
    this.#most = most
    this.#onEvict = onEvict
  }

  /** Connections now open. */
  get size(): number {
    return this.#all.size
  }

  /** Takes in a new connection. One over a unix socket has no address. */
  add(socket: Socket): void {
    const address = socket.remoteAddress
    this.#put(socket, address)
    socket.on('close', () => this.#remove(socket, address))
    const own = address === undefined ? undefined : this.#byAddress.get(address)
    if (own !== undefined && own.size > this.#most / 2) this.#evictFirst(own)
    else if (this.#all.size > this.#most) this.#evictFirst(this.#all)
  }

  /** The connection did something that it was waited for. */
  touch(socket: Socket): void {
    if (!this.#all.delete(socket)) return
    const { remoteAddress: address } = socket
    if (address !== undefined) this.#byAddress.get(address)?.delete(socket)
    this.#put(socket, address)
  }

  #put(socket: Socket, address: string | undefined): void {
    this.#all.add(socket)
    if (address === undefined) return
    const own = this.#byAddress.get(address)
    if (own === undefined) this.#byAddress.set(address, new Set([socket]))
    else own.add(socket)
  }

  #remove(socket: Socket, address: string | undefined): void {
    this.#all.delete(socket)
    if (address === undefined) return
    const own = this.#byAddress.get(address)
    own?.delete(socket)
    if (own?.size === 0) this.#byAddress.delete(address)
  }

  #evictFirst(sockets: ReadonlySet<Socket>): void {
    const [socket] = sockets
    if (socket === undefined) return
    this.#onEvict()
    // A destroyed socket has no address any more.
    this.#remove(socket, socket.remoteAddress)
    socket.destroy()
  }
}
