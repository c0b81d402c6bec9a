// The interface of every frontend, and how a server of streams is bound to its address.

import type { Server } from 'node:net'
import { type Address, formatAddress, type HostAddress } from '../base/address.ts'
import { codeOf, messageOf, TlscachedError } from '../base/errors.ts'
import { listenOnPath } from './unix-socket.ts'

export interface Frontend {
  /** Key of the frontend in the configuration, such as `http`. */
  readonly name: string
  /** Where it listens. After the start the port is the one that the kernel chose. */
  readonly address: Address
  /** Starts to listen. Rejects with ERR_LISTEN when the address cannot be bound. Idempotent. */
  start(): Promise<void>
  /** Ends connections, closes sockets and removes socket files. Idempotent. */
  stop(): Promise<void>
}

/**
 * Binds `server` to `address` and resolves with where it listens. `field` is the setting that errors name. Throws
 * ERR_LISTEN. A unix socket is bound by this process itself, also in a worker of node:cluster.
 */
export async function listenOn(server: Server, address: Address, field: string): Promise<Address> {
  try {
    if (!('path' in address)) return await listenOnHost(server, address)
    const bind = (path: string) => begin(server, () => server.listen({ path, exclusive: true }))
    await listenOnPath(server, address.path, bind)
    return address
  } catch (error) {
    throw toListenError(error, address, field)
  }
}

/** Returns ERR_LISTEN for any error of binding an address, with one line that names field, address and reason. */
export function toListenError(error: unknown, address: Address, field: string): TlscachedError {
  const reason = REASONS[codeOf(error) ?? ''] ?? messageOf(error)
  const message = `${field}: cannot listen on ${formatAddress(address)}: ${reason}`
  return new TlscachedError('ERR_LISTEN', message, { cause: error })
}

const REASONS: Record<string, string> = {
  EADDRINUSE: 'address already in use',
  EADDRNOTAVAIL: 'this machine does not have that address',
  EACCES: 'permission denied',
  ENOTFOUND: 'the name has no address',
}

async function listenOnHost(server: Server, { host, port }: HostAddress): Promise<Address> {
  await begin(server, () => server.listen({ host, port }))
  const bound = server.address()
  return { host, port: typeof bound === 'object' && bound !== null ? bound.port : port }
}

function begin(server: Server, listen: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (error?: Error) => {
      server.off('error', settle)
      server.off('listening', settle)
      if (error === undefined) resolve()
      else reject(error)
    }
    server.on('error', settle)
    server.on('listening', settle)
    listen()
  })
}
