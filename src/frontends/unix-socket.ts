// A server's socket in the file system, to which nobody but its owner can connect at any moment: whoever reads a session
// there resumes it anywhere. The mode of the process for new files (umask) is not touched: threads share it.
//
//   path                    the socket, from the moment on that it has its mode: a hard link, which fails where a file is
//   .tlscached-XXXXXX/      new folder beside it, mode 0700, gone again as soon as the server listens
//     new                   what the server binds, by the folder's descriptor: so a path may have all 107 bytes
//     old                   the socket of a process that is gone, taken away from the path

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
import { codeOf } from '../base/errors.ts'

const MODE = 0o600
const ROOM_PREFIX = '.tlscached-'
const ROOM_NAME = /^\.tlscached-[0-9A-Za-z]{6}$/
const NEW = 'new'
const OLD = 'old'
/** Age from which the folder of another start is of a process that was killed: a start takes milliseconds. */
const LEFTOVER_AGE_MS = 60_000
/** How long a process may take to accept a connection before it counts as alive but busy. */
const PROBE_TIMEOUT_MS = 1000
/** A path is tried again when another process had a hand in it meanwhile. */
const MAX_ATTEMPTS = 5

/**
 * Makes `server` listen at `path`. `bind` calls server.listen and resolves when it listens. The socket of a process that
 * is gone is replaced; one that answers and a file that is no socket stay, and the call rejects. When the server closes,
 * the path is removed if it is still this server's.
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
  // Open as long as the server: Node removes the name that was bound when it closes, by then in a folder that is gone.
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
    // Another process may have replaced it meanwhile: what is taken away is looked at before and after.
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

/** False when there is a file at `path`. */
function isLinked(from: string, path: string): boolean {
  try {
    linkSync(from, path)
    return true
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    throw error
  }
}

/** False when there is no file at `path` any more. */
function isMoved(path: string, to: string): boolean {
  try {
    renameSync(path, to)
    return true
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false
    throw error
  }
}

/** Whether a process listens on the socket at `path`. */
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

/** Inode numbers are used again, so a socket is known by the time of its making as well. */
function isSame(one: Stats, other: Stats | undefined): boolean {
  return one.ino === other?.ino && one.dev === other.dev && one.mtimeMs === other.mtimeMs
}

function removeOwn(path: string, own: Stats): void {
  try {
    if (isSame(own, lstatSync(path, { throwIfNoEntry: false }))) unlinkSync(path)
  } catch {
    // A socket file that cannot be removed is stale from now on, and replaced by the next start.
  }
}

function removeRoom(room: string): void {
  try {
    for (const name of [NEW, OLD]) rmSync(join(room, name), { force: true })
    rmdirSync(room)
  } catch {
    // It is gone already, or holds what is not ours: then it stays.
  }
}

/** Removes the folders of starts that were killed before they were done: of this user, and older than the `room` of this one. */
function removeLeftovers(folder: string, room: Stats): void {
  for (const name of namesIn(folder)) {
    const path = join(folder, name)
    const other = ROOM_NAME.test(name) ? lstatSync(path, { throwIfNoEntry: false }) : undefined
    const isOwn = other?.isDirectory() === true && other.uid === room.uid
    if (isOwn && room.mtimeMs - other.mtimeMs > LEFTOVER_AGE_MS) removeRoom(path)
  }
}

/** Nothing for a folder in which this user may write, but not read. */
function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
