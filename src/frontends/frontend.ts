// What every frontend is, and how those that speak over streams come to listen.

import { existsSync, lstatSync, unlinkSync } from 'node:fs'
import { connect, type Server } from 'node:net'
import { dirname } from 'node:path'
import { type Address, formatAddress, type HostAddress, type UnixAddress } from '../base/address.ts'
import { codeOf, messageOf, TlscachedError } from '../base/errors.ts'

export interface Frontend {
  /** Its key in the configuration, as in `http`. */
  readonly name: string
  /** Where it listens: with the port the kernel chose, once it started. */
  readonly address: Address
  /** Rejects with ERR_LISTEN when the address cannot be had. Idempotent, like `stop`. */
  start(): Promise<void>
  /** Ends connections, closes sockets and removes socket files. */
  stop(): Promise<void>
}

/** Nobody but the owner may connect: a session that is read there resumes anywhere. */
const UNIX_SOCKET_UMASK = 0o177
/** For whoever holds the socket file of an address: is there still a process behind it? */
const PROBE_TIMEOUT_MS = 1000

/**
 * Binds `server` to `address` and resolves with where it listens. `field` is the setting that errors
 * name. Throws ERR_LISTEN. A socket file whose process is gone is replaced.
 */
export async function listenOn(server: Server, address: Address, field: string): Promise<Address> {
  try {
    if (!('path' in address)) return await listenOnHost(server, address)
    // Where the directory is missing, Node says that permission was denied.
    if (!existsSync(dirname(address.path))) throw new Error('no such directory')
    if (await isStaleSocket(address.path)) unlinkSync(address.path)
    return await listenOnPath(server, address)
  } catch (error) {
    throw toListenError(error, address, field)
  }
}

/** Anything that kept an address from being listened on, as one line that names field and address. */
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

async function listenOnPath(server: Server, { path }: UnixAddress): Promise<Address> {
  // Node binds a path within this call, so the file is never there with wider permissions.
  await begin(server, () => {
    const umask = process.umask(UNIX_SOCKET_UMASK)
    try {
      server.listen({ path })
    } finally {
      process.umask(umask)
    }
  })
  return { path }
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

/** Whether there is a socket file that nobody answers. */
async function isStaleSocket(path: string): Promise<boolean> {
  const status = lstatSync(path, { throwIfNoEntry: false })
  if (status === undefined) return false
  if (!status.isSocket()) throw new Error('there is a file that is no socket')
  return new Promise((resolve) => {
    const probe = connect({ path })
    const settle = (isStale: boolean) => {
      probe.destroy()
      resolve(isStale)
    }
    probe.setTimeout(PROBE_TIMEOUT_MS, () => settle(false))
    probe.once('connect', () => settle(false))
    probe.once('error', (error) => settle(codeOf(error) === 'ECONNREFUSED'))
  })
}
