// Stands between two nodes on loopback, in UDP and TCP. Both nodes listen on the same port of addresses of their own; each
// knows the other by an address of the proxy, and all that comes from the other comes from there, so that the nodes find
// no way around it. It shows what passes to whoever made it, and can lose datagrams, refuse connections and be slow.

import { createSocket, type Socket as DatagramSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { Transform } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { Dice } from './dice.ts'

/** A node and the address that the proxy has in its place. */
export interface ProxiedNode {
  readonly host: string
  readonly shownAs: string
}

/** What passes at once where a connection is slow. */
const SLOW_PIECE_BYTES = 1024

export class NodeProxy {
  datagrams = 0
  connections = 0
  /** How many of a hundred datagrams to the second node are lost; those to the first one all arrive. */
  lostPercent = 0
  /** Bytes that a connection carries per second, in each direction. */
  bytesPerSec = Number.POSITIVE_INFINITY
  readonly #onBytes: (bytes: Buffer) => void
  readonly #dice = new Dice(24)
  readonly #sockets: DatagramSocket[] = []
  readonly #servers: Server[] = []
  readonly #connections = new Set<Socket>()

  /** `onBytes` is called with each piece that arrives; it must not keep the piece. */
  constructor(onBytes: (bytes: Buffer) => void = () => {}) {
    this.#onBytes = onBytes
  }

  /** Listens at the addresses that the nodes have for each other. */
  async start(port: number, [a, b]: readonly [ProxiedNode, ProxiedNode]): Promise<void> {
    const [forA, forB] = [createSocket('udp4'), createSocket('udp4')]
    this.#sockets.push(forA, forB)
    await bind(forA, a.shownAs, port)
    await bind(forB, b.shownAs, port)
    // What arrives where one node is shown goes on to it, from where the other is shown.
    forA.on('message', (bytes) => this.#pass(bytes, forB, a.host, port))
    forB.on('message', (bytes) => {
      if (this.#dice.below(100) >= this.lostPercent) this.#pass(bytes, forA, b.host, port)
    })
    await this.#listen(port, a, b.shownAs)
    await this.#listen(port, b, a.shownAs)
  }

  /** Ends all connections and takes no more; datagrams pass as before. */
  refuseConnections(): void {
    for (const server of this.#servers) server.close()
    for (const socket of this.#connections) socket.destroy()
  }

  stop(): void {
    for (const socket of this.#sockets) socket.close()
    this.refuseConnections()
  }

  #pass(bytes: Buffer, from: DatagramSocket, host: string, port: number): void {
    this.#onBytes(bytes)
    this.datagrams += 1
    from.send(bytes, port, host)
  }

  async #listen(port: number, { host, shownAs }: ProxiedNode, localAddress: string): Promise<void> {
    const server = createServer({ allowHalfOpen: true }, (near) => {
      this.connections += 1
      const far = connect({ host, port, localAddress, allowHalfOpen: true })
      for (const socket of [near, far]) {
        this.#connections.add(socket)
        socket.on('error', () => {})
        socket.on('close', () => {
          this.#connections.delete(socket)
          near.destroy()
          far.destroy()
        })
      }
      near.pipe(this.#wire()).pipe(far).pipe(this.#wire()).pipe(near)
    })
    this.#servers.push(server)
    server.listen(port, shownAs)
    await once(server, 'listening')
  }

  /** One direction of a connection. */
  #wire(): Transform {
    const wire = new Transform({
      transform: (bytes: Buffer, _encoding, callback) => {
        this.#onBytes(bytes)
        if (Number.isFinite(this.bytesPerSec))
          this.#trickle(bytes, wire).then(() => callback(), callback)
        else callback(null, bytes)
      },
    })
    return wire
  }

  /** Lets the bytes pass piece by piece, so that the other end sees them come all the time. */
  async #trickle(bytes: Buffer, wire: Transform): Promise<void> {
    for (let at = 0; at < bytes.length; at += SLOW_PIECE_BYTES) {
      const piece = bytes.subarray(at, at + SLOW_PIECE_BYTES)
      await delay((piece.length / this.bytesPerSec) * 1000)
      wire.push(piece)
    }
  }
}

async function bind(socket: DatagramSocket, host: string, port: number): Promise<void> {
  socket.bind(port, host)
  await once(socket, 'listening')
}
