// What tests of the terminator in one process share: a cache, certificates, a front or a whole process on a
// port of its own, clients.

import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { type ConnectionOptions, connect } from 'node:tls'
import type { HostAddress } from '../../src/base/address.ts'
import { silentLogger, systemClock } from '../../src/base/world.ts'
import { DEMO_CERTIFICATE } from '../../src/cli/demo-terminator.ts'
import { ContextlessHooks } from '../../src/hooks/contextless-hooks.ts'
import { SessionStore } from '../../src/store/session-store.ts'
import { VersionClock } from '../../src/store/versions.ts'
import { TlsFront, type TlsFrontOptions } from '../../src/terminator/tls-front.ts'
import { createVirtualHosts } from '../../src/terminator/virtual-hosts.ts'

export function createHooks(): ContextlessHooks {
  const store = new SessionStore(
    { name: 'ssl', items: 100, keysize: 32, blocksize: 4096, timeoutMs: 300_000, full: 'evict' },
    {
      clock: systemClock,
      versions: new VersionClock(systemClock),
      origin: 1,
      seed: Buffer.from('seed'),
    },
  )
  return new ContextlessHooks(store, { clock: systemClock, logger: silentLogger })
}

export const demoHosts = () => createVirtualHosts([{ name: 'demo', ...DEMO_CERTIFICATE }])

export interface RunningFront {
  readonly front: TlsFront
  readonly address: HostAddress
}

/** Greets each client with `hello`, unless told what else to do. */
export async function startFront(
  t: TestContext,
  options: Partial<TlsFrontOptions> = {},
): Promise<RunningFront> {
  const front = new TlsFront({
    listen: [{ host: '127.0.0.1', port: 0 }],
    hosts: demoHosts(),
    hooks: createHooks(),
    minVersion: '1.2',
    maxVersion: '1.3',
    sessionTimeoutSec: 300,
    handshakeTimeoutMs: 10_000,
    maxConnections: 100,
    serve: (client) => {
      client.on('error', () => client.destroy())
      client.resume()
      client.end('hello')
    },
    clock: systemClock,
    logger: silentLogger,
    ...options,
  })
  const [address] = await front.start()
  if (address === undefined) throw new Error('it does not listen')
  t.after(() => front.stop())
  return { front, address }
}

/** A client whose handshake is done. */
export async function greet(address: HostAddress, options: ConnectionOptions = {}) {
  const socket = connect({ ...address, rejectUnauthorized: false, ...options })
  await new Promise<void>((resolve, reject) => {
    socket.once('secureConnect', resolve)
    socket.on('error', reject)
    // Node tells an end before the handshake as an error, but not in every moment.
    socket.once('close', () => reject(new Error('closed before the handshake was over')))
  })
  return socket
}

/** Resolves when the connection is over, with an error or without. */
export function closed(socket: Socket): Promise<void> {
  if (socket.closed) return Promise.resolve()
  return new Promise((resolve) => socket.on('error', () => {}).once('close', () => resolve()))
}

/** Everything the other side sends until it ends. */
export async function readAll(socket: Socket): Promise<string> {
  let received = ''
  socket.on('data', (chunk: Buffer) => {
    received += chunk.toString('latin1')
  })
  if (!socket.readableEnded) await once(socket, 'end')
  return received
}

export interface RecordingBackend {
  readonly server: Server
  readonly address: HostAddress
  /** Each connection, oldest first. */
  readonly sockets: Socket[]
}

/** A backend that does nothing by itself. */
export async function startBackend(t: TestContext): Promise<RecordingBackend> {
  const sockets: Socket[] = []
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => socket.destroy())
    sockets.push(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  const bound = server.address()
  const port = typeof bound === 'object' && bound !== null ? bound.port : 0
  return { server, address: { host: '127.0.0.1', port }, sockets }
}
