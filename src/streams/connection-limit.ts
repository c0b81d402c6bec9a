// Limits the connections of a server. When there are too many, the one that was idle for longest is evicted, so that
// silent and slow clients keep nobody out. One address may have at most half of the connections.

import type { Socket } from 'node:net'

export class ConnectionLimit {
  readonly #most: number
  readonly #onEvict: () => void
  /** All connections, the one idle for longest first; the sets of `#byAddress` have this order too. */
  readonly #all = new Set<Socket>()
  readonly #byAddress = new Map<string, Set<Socket>>()

  /** `most` is the highest number of connections. `onEvict` is called before each eviction. */
  constructor(most: number, onEvict: () => void) {
    this.#most = most
    this.#onEvict = onEvict
  }

  /** Connections now open. */
  get size(): number {
    return this.#all.size
  }

  /** Adds a new connection, and evicts one if that makes too many. Unix sockets have no address: only `most` counts. */
  add(socket: Socket): void {
    const address = socket.remoteAddress
    this.#put(socket, address)
    socket.on('close', () => this.#remove(socket, address))
    const own = address === undefined ? undefined : this.#byAddress.get(address)
    if (own !== undefined && own.size > this.#most / 2) this.#evictFirst(own)
    else if (this.#all.size > this.#most) this.#evictFirst(this.#all)
  }

  /** Notes that the connection was active just now. A connection that is not held any more is left alone. */
  touch(socket: Socket): void {
    if (!this.#all.delete(socket)) return
    const { remoteAddress: address } = socket
    if (address !== undefined) this.#byAddress.get(address)?.delete(socket)
    this.#put(socket, address)
  }

  /** Holds the connection no longer: from now on it neither counts nor is evicted. */
  release(socket: Socket): void {
    this.#remove(socket, socket.remoteAddress)
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
    // This comes before destroy(), after which the socket has no remoteAddress.
    this.#remove(socket, socket.remoteAddress)
    socket.destroy()
  }
}
