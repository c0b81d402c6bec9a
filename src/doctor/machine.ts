// What doctor sees of the machine: files, their owners, users and processes, through readers that a test replaces.

import { readdirSync, readlinkSync, type Stats, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { codeOf } from '../base/errors.ts'
import { readRegularFile } from '../base/regular-file.ts'

/** Longest file that is read; the files of /proc and configurations are far shorter. */
const MAX_FILE_BYTES = 4 * 1024 * 1024
const ROOT_UID = 0

export interface FileStatus {
  readonly kind: 'file' | 'folder' | 'socket' | 'other'
  readonly uid: number
  readonly gid: number
  /** Permission bits. */
  readonly mode: number
}

/** Reads this machine. No reader throws. */
export interface Machine {
  /** User that runs doctor; 0 is root, and also where the system has no user IDs. */
  readonly uid: number
  /** Returns the text of a regular file; undefined when it is not there or must not be read. */
  read(path: string): string | undefined
  /** Returns what stands at the path, links followed; `hidden` when a folder on the way is closed to this user. */
  status(path: string): FileStatus | 'missing' | 'hidden'
  /** Returns the names in a folder, sorted; empty when it is not there. */
  list(path: string): readonly string[]
  /** Returns where a link leads; undefined when it is none. */
  linkAt(path: string): string | undefined
}

export const systemMachine: Machine = {
  uid: process.geteuid?.() ?? ROOT_UID,
  read(path) {
    try {
      return readRegularFile(path, MAX_FILE_BYTES).text
    } catch {
      return undefined
    }
  },
  status(path) {
    try {
      const status = statSync(path)
      const { uid, gid } = status
      return { kind: kindOf(status), uid, gid, mode: status.mode & 0o7777 }
    } catch (error) {
      return codeOf(error) === 'EACCES' ? 'hidden' : 'missing'
    }
  },
  list(path) {
    try {
      return readdirSync(path).sort()
    } catch {
      return []
    }
  },
  linkAt(path) {
    try {
      return readlinkSync(path)
    } catch {
      return undefined
    }
  },
}

function kindOf(status: Stats): FileStatus['kind'] {
  if (status.isFile()) return 'file'
  if (status.isDirectory()) return 'folder'
  return status.isSocket() ? 'socket' : 'other'
}

// Users, and what they may do with a file.

export interface User {
  readonly name: string
  readonly uid: number
  /** Every group of the user, the one of /etc/passwd first. */
  readonly gids: readonly number[]
}

/** Finds a user by name or number in /etc/passwd and /etc/group; undefined when there is none of this name. */
export function findUser(machine: Machine, nameOrUid: string | number): User | undefined {
  const rows = rowsOf(machine.read('/etc/passwd'))
  const row = rows.find(([name, , uid]) =>
    typeof nameOrUid === 'number' ? Number(uid) === nameOrUid : name === nameOrUid,
  )
  if (row === undefined) {
    return typeof nameOrUid === 'number'
      ? { name: String(nameOrUid), uid: nameOrUid, gids: [] }
      : undefined
  }
  const [name = '', , uid, gid] = row
  const more = rowsOf(machine.read('/etc/group'))
    .filter(([, , , members = '']) => members.split(',').includes(name))
    .map(([, , id]) => Number(id))
  return { name, uid: Number(uid), gids: [...new Set([Number(gid), ...more])] }
}

function rowsOf(text = ''): readonly string[][] {
  return text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split(':'))
}

export const READ = 4
export const WRITE = 2
export const ENTER = 1

/** Whether owner, group and mode give a user these permissions; access control lists are not looked at. */
export function may(user: User, status: FileStatus, permissions: number): boolean {
  if (user.uid === ROOT_UID) return true
  let bits = status.mode & 7
  if (status.uid === user.uid) bits = status.mode >> 6
  else if (user.gids.includes(status.gid)) bits = status.mode >> 3
  return (bits & permissions) === permissions
}

/** Returns the first folder on the way to the path that a user may not enter; undefined when the way is open. */
export function closedFolder(machine: Machine, user: User, path: string): string | undefined {
  const folders: string[] = []
  for (let folder = dirname(path); folder !== dirname(folder); folder = dirname(folder)) {
    folders.unshift(folder)
  }
  return folders.find((folder) => {
    const status = machine.status(folder)
    return typeof status === 'object' && !may(user, status, ENTER)
  })
}

// Processes.

export interface Process {
  readonly pid: number
  /** The arguments; a program that changes its title shows that in one argument. */
  readonly args: readonly string[]
  /** Name of the program's file, or, where that cannot be seen, of its first thread. */
  readonly program: string
  readonly parentPid: number
  /** Effective user. */
  readonly uid: number
}

/** Lists the processes that this user can see. */
export function listProcesses(machine: Machine): readonly Process[] {
  return machine
    .list('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => readProcess(machine, Number(pid)) ?? [])
}

function readProcess(machine: Machine, pid: number): Process | undefined {
  const folder = `/proc/${pid}`
  const cmdline = machine.read(`${folder}/cmdline`)
  const status = machine.read(`${folder}/status`)
  if (cmdline === undefined || cmdline === '' || status === undefined) return undefined
  const field = (name: string) => new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1] ?? ''
  const file = machine.linkAt(`${folder}/exe`)?.replace(/ \(deleted\)$/, '')
  return {
    pid,
    args: cmdline.replace(/\0+$/, '').split('\0'),
    program: file?.slice(file.lastIndexOf('/') + 1) ?? field('Name'),
    parentPid: Number(field('PPid')),
    uid: Number(field('Uid').split(/\s+/)[1]),
  }
}
