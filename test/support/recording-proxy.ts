// Stands between two nodes on loopback, in UDP and TCP, and records all that passes. Both nodes listen on the same port of
// addresses of their own; each knows the other by an address of the proxy, and all that comes from the other comes from
// there, so that the nodes find no way around it.

import { createSocket, type Socket as DatagramSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'

/** A node and the address that the proxy has in its place. */
export interface ProxiedNode {
  readonly host: string
  readonly shownAs: string
}

export class RecordingProxy {
  readonly #recorded: Buffer[] = []
  readonly #sockets: DatagramSocket[] = []
  readonly #servers: Server[] = []
  readonly #connections = new Set<Socket>()
  datagrams = 0
  connections = 0

  /** All bytes that passed, one piece after another. */
  get recording(): Buffer {
    return Buffer.concat(this.#recorded)
  }

  /** Listens at the addresses that the nodes have for each other. */
  async start(port: number, [a, b]: readonly [ProxiedNode, ProxiedNode]): Promise<void> {
    const [forA, forB] = [createSocket('udp4'), createSocket('udp4')]
    this.#sockets.push(forA, forB)
    await bind(forA, a.shownAs, port)
    await bind(forB, b.shownAs, port)
    // What arrives where one node is shown goes on to it, from where the other is shown.
    forA.on('message', (bytes) => this.#pass(bytes, forB, a.host, port))
    forB.on('message', (bytes) => this.#pass(bytes, forA, b.host, port))
    await this.#listen(port, a, b.shownAs)
    await this.#listen(port, b, a.shownAs)
  }

  stop(): void {
    for (const socket of this.#sockets) socket.close()
    for (const server of this.#servers) server.close()
    for (const socket of this.#connections) socket.destroy()
  }

  #pass(bytes: Buffer, from: DatagramSocket, host: string, port: number): void {
    this.#record(bytes)
    this.datagrams += 1
    from.send(bytes, port, host)
  }

  async #listen(port: number, { host, shownAs }: ProxiedNode, localAddress: string): Promise<void> {
    const server = createServer({ allowHalfOpen: true }, (near) => {
      this.connections += 1
      const far = connect({ host, port, localAddress, allowHalfOpen: true })
      for (const socket of [near, far]) {
        this.#connections.add(socket)
        socket.on('data', (bytes: Buffer) => this.#record(bytes))
        socket.on('error', () => {})
        socket.on('close', () => {
          this.#connections.delete(socket)
          near.destroy()
          far.destroy()
        })
      }
      near.pipe(far).pipe(near)
    })
    this.#servers.push(server)
    server.listen(port, shownAs)
    await once(server, 'listening')
  }

  #record(bytes: Buffer): void {
    this.#recorded.push(Buffer.from(bytes))
  }
}

async function bind(socket: DatagramSocket, host: string, port: number): Promise<void> {
  socket.bind(port, host)
  await once(socket, 'listening')
}
