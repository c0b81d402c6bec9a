// What listens: the interface of every frontend, and how a server of streams is bound to a TCP address or a unix socket.

import { once } from 'node:events'
import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  linkSync,
  lstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  renameSync,
  rmdirSync,
  rmSync,
  type Stats,
  unlinkSync,
} from 'node:fs'
import { connect, type Server } from 'node:net'
import { dirname, join } from 'node:path'
import { type Address, formatAddress, type HostAddress } from '../base/address.ts'
import type { Declaration } from '../base/counters.ts'
import { codeOf, messageOf, TlscachedError } from '../base/errors.ts'

export interface Frontend {
  /** Key of the frontend in the configuration, such as `http`. */
  readonly name: string
  /** What it counts, and the counts since it was made. */
  readonly counters: Declaration
  readonly stats: Readonly<Record<string, unknown>>
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
export async function listenOn<A extends Address>(
  server: Server,
  address: A,
  field: string,
): Promise<A> {
  try {
    if (!('path' in address)) return { ...address, port: await listenOnHost(server, address) }
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

/** Resolves with the port that the kernel chose. */
async function listenOnHost(server: Server, { host, port }: HostAddress): Promise<number> {
  await begin(server, () => server.listen({ host, port }))
  const bound = server.address()
  return typeof bound === 'object' && bound !== null ? bound.port : port
}

async function begin(server: Server, listen: () => void): Promise<void> {
  listen()
  await once(server, 'listening')
}

// Places a server's socket in the file system so that at no moment anybody but its owner can connect: a session that is
// read there can be resumed anywhere. The umask of the process is not changed, because all threads share it.
//
//   path                    the socket, as soon as it has its mode: a hard link, which fails if there is a file
//   .tlscached-XXXXXX/      new folder beside it, mode 0700, removed as soon as the server listens
//     new                   the socket that the server binds, by the folder's descriptor, so a path may have 107 bytes
//     old                   the socket of a process that is gone, moved away from the path

const MODE = 0o600
const ROOM_PREFIX = '.tlscached-'
const ROOM_NAME = /^\.tlscached-[0-9A-Za-z]{6}$/
const NEW = 'new'
const OLD = 'old'
/** Age from which a folder of another start is left over from a killed process: a start takes milliseconds. */
const LEFTOVER_AGE_MS = 60_000
/** Longest wait for a process to accept a connection; after that it counts as alive but busy. */
const PROBE_TIMEOUT_MS = 1000
/** Attempts to place the socket; one fails when another process changes the path meanwhile. */
const MAX_ATTEMPTS = 5

/**
 * Makes `server` listen at `path`. `bind` calls server.listen and resolves when it listens. The socket of a process
 * that is gone is replaced; one that answers and a file that is no socket stay, and the call rejects. When the server
 * closes, the path is removed if it is still this server's.
 */
export async function listenOnPath(
  server: Server,
  path: string,
  bind: (path: string) => Promise<void>,
): Promise<void> {
  const folder = dirname(path)
  if (!existsSync(folder)) throw new Error('no such directory')
  const room = mkdtempSync(join(folder, ROOM_PREFIX))
  removeLeftovers(folder, lstatSync(room))
  // The descriptor stays open as long as the server: on close Node.js removes the name that was bound through it, which
  // by then is in a folder that is gone.
  const descriptor = openSync(room, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    await bind(inRoom(descriptor, NEW))
    chmodSync(join(room, NEW), MODE)
    const own = lstatSync(join(room, NEW))
    await place(room, descriptor, path)
    server.once('close', () => {
      closeSync(descriptor)
      removeOwn(path, own)
    })
  } catch (error) {
    if (server.listening) await new Promise((resolve) => server.close(resolve))
    closeSync(descriptor)
    throw error
  } finally {
    removeRoom(room)
  }
}

function inRoom(descriptor: number, name: string): string {
  return `/proc/self/fd/${descriptor}/${name}`
}

async function place(room: string, descriptor: number, path: string): Promise<void> {
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
    if (isLinked(join(room, NEW), path)) return
    const stale = lstatSync(path, { throwIfNoEntry: false })
    if (stale === undefined) continue
    if (!stale.isSocket()) throw new Error('there is a file that is no socket')
    if (await isAnswered(path)) break
    // Another process may have replaced the socket meanwhile, so it is checked before and after it is moved.
    if (!isSame(stale, lstatSync(path, { throwIfNoEntry: false }))) continue
    if (!isMoved(path, join(room, OLD))) continue
    if (await isAnswered(inRoom(descriptor, OLD))) {
      isLinked(join(room, OLD), path)
      break
    }
    unlinkSync(join(room, OLD))
  }
  throw Object.assign(new Error(`${path} is taken`), { code: 'EADDRINUSE' })
}

/** Links `from` to `path`; false when there is a file at `path` already. */
function isLinked(from: string, path: string): boolean {
  try {
    linkSync(from, path)
    return true
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    throw error
  }
}

/** Moves `path` to `to`; false when there is no file at `path` any more. */
function isMoved(path: string, to: string): boolean {
  try {
    renameSync(path, to)
    return true
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false
    throw error
  }
}

/** Whether a process listens on the socket at `path`; one too busy to accept counts as well. */
function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect({ path })
    const settle = (answer: boolean) => {
      probe.destroy()
      resolve(answer)
    }
    probe.setTimeout(PROBE_TIMEOUT_MS, () => settle(true))
    probe.once('connect', () => settle(true))
    probe.once('error', (error) => settle(codeOf(error) !== 'ECONNREFUSED'))
  })
}

/** Whether both are the same file. Inode numbers are reused, so the time of its creation is compared as well. */
function isSame(one: Stats, other: Stats | undefined): boolean {
  return one.ino === other?.ino && one.dev === other.dev && one.mtimeMs === other.mtimeMs
}

function removeOwn(path: string, own: Stats): void {
  try {
    if (isSame(own, lstatSync(path, { throwIfNoEntry: false }))) unlinkSync(path)
  } catch {
    // A socket file that cannot be removed is stale from now on, and the next start replaces it.
  }
}

function removeRoom(room: string): void {
  try {
    for (const name of [NEW, OLD]) rmSync(join(room, name), { force: true })
    rmdirSync(room)
  } catch {
    // The folder is gone already, or it holds files that are not ours and stays.
  }
}

/** Removes folders of killed starts: those of this user that are LEFTOVER_AGE_MS older than this start's `room`. */
function removeLeftovers(folder: string, room: Stats): void {
  for (const name of namesIn(folder)) {
    const path = join(folder, name)
    const other = ROOM_NAME.test(name) ? lstatSync(path, { throwIfNoEntry: false }) : undefined
    const isOwn = other?.isDirectory() === true && other.uid === room.uid
    if (isOwn && room.mtimeMs - other.mtimeMs > LEFTOVER_AGE_MS) removeRoom(path)
  }
}

/** Returns the names in a folder; none for a folder in which this user may write, but not read. */
function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
