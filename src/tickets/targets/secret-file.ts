// Writes a file of ticket keys for a terminator: under a temporary name that nobody had before, with its owner and mode,
// then by rename, so that the terminator sees the old file or the whole new one. Anything that fails leaves the old file.

import { readFileSync, type Stats } from 'node:fs'
import {
  chmod as changeMode,
  chown as changeOwner,
  type FileHandle,
  link as linkFile,
  mkdir as makeFolder,
  open as openFile,
  readdir as readFolder,
  rename as renameFile,
  statfs as statFileSystem,
  stat as statPath,
  unlink as unlinkFile,
} from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { codeOf, messageOf, TlscachedError } from '../../base/errors.ts'
import type { TargetFailure } from './target.ts'

/** Types of file systems that keep everything in memory, as statfs tells them: tmpfs and ramfs. */
const MEMORY_FILE_SYSTEMS: readonly number[] = [0x01021994, 0x858458f6]

/** Mode of folders that are made: names of keys are no secret, and a terminator may read as a user of its own. */
const FOLDER_MODE = 0o755

/** A user and a group, by their numbers. */
export interface Owner {
  readonly uid: number
  readonly gid: number
}

export interface SecretFileOptions {
  /** Permission bits; 0o400 unless the terminator reads as a group. */
  readonly mode: number
  /** The user and group that the terminator reads as; absent: those of this process. */
  readonly owner?: Owner
  /** The user who also gets the folder of the file and the one above it, where this process makes them; absent: nobody. */
  readonly folderOwner?: Owner
  /** Allows a file system that keeps keys on a disk. */
  readonly allowDisk: boolean
  /** Folder for temporary names, where the terminator reads every file of the folder itself; on the same file system. */
  readonly temporaryFolder?: string
  /** When the file is to say that it was changed, in ms since 1970; absent: when it is. */
  readonly changedMs?: number | undefined
}

/** The calls to the file system, injected so that a test can make each of them fail. */
export interface SecretFileSystem {
  open(path: string, flags: string, mode: number): Promise<SecretFileHandle>
  rename(from: string, to: string): Promise<void>
  link(from: string, to: string): Promise<void>
  unlink(path: string): Promise<void>
  /** Makes a folder and those above it; resolves when it is there already. A new one gets the owner, as does the one above. */
  mkdir(path: string, owner?: Owner): Promise<unknown>
  statfs(path: string): Promise<{ readonly type: number }>
  stat(path: string): Promise<Pick<Stats, 'size' | 'ino' | 'mtimeMs' | 'uid' | 'gid' | 'mode'>>
  readdir(path: string): Promise<string[]>
}

/** An open file, as far as one is written here. */
export type SecretFileHandle = Pick<FileHandle, 'chown' | 'chmod' | 'utimes' | 'close'> & {
  writeFile(bytes: Uint8Array): Promise<void>
  stat(): Promise<{ readonly size: number }>
}

export const secretFileSystem: SecretFileSystem = {
  open: openFile,
  rename: renameFile,
  link: linkFile,
  unlink: unlinkFile,
  mkdir: makeFolders,
  statfs: (path) => statFileSystem(path),
  stat: (path) => statPath(path),
  readdir: (path) => readFolder(path),
}

/** Replaces the file with these bytes, in a folder that is made when it is missing, as after a reboot. Returns what went wrong; the file is then as it was. */
export async function writeSecretFile(
  path: string,
  bytes: Uint8Array,
  options: SecretFileOptions,
  files: SecretFileSystem = secretFileSystem,
): Promise<TargetFailure | undefined> {
  const folder = dirname(path)
  const temporary = temporaryName(path, 'tmp', options)
  try {
    await files.mkdir(folder, options.folderOwner)
    const { type } = await files.statfs(folder)
    if (!options.allowDisk && !MEMORY_FILE_SYSTEMS.includes(type)) {
      const message = `${folder} is not on tmpfs or ramfs: mount one there, or set allow_disk to keep ticket keys on a disk`
      return { reason: 'disk', message }
    }
    await writeTemporary(temporary, bytes, options, files)
    await files.rename(temporary, path)
    return undefined
  } catch (error) {
    await files.unlink(temporary).catch(() => {})
    return failureOf(error, path)
  }
}

/**
 * Keeps the file as it is under a second name, until the terminator has accepted the one that takes its place. Returns
 * the way back to it; with no file before, the way back is to have none.
 */
export async function keepOldFile(
  path: string,
  options: SecretFileOptions,
  files: SecretFileSystem = secretFileSystem,
): Promise<{ restore(): Promise<void>; forget(): Promise<void> }> {
  const kept = temporaryName(path, 'old', options)
  await files.unlink(kept).catch(() => {})
  let bringBack = () => files.rename(kept, path)
  try {
    await files.link(path, kept)
  } catch (error) {
    // Where a file of another user cannot be kept (fs.protected_hardlinks), the new one is better than none.
    const isNew = codeOf(error) === 'ENOENT'
    bringBack = isNew ? () => files.unlink(path) : () => Promise.resolve()
  }
  return {
    restore: () => bringBack().catch(() => {}),
    forget: () => files.unlink(kept).catch(() => {}),
  }
}

/** The length of a file, and text that changes with its content, its owner or its mode; undefined without a file. */
export async function statFile(
  path: string,
  files: SecretFileSystem,
): Promise<{ readonly size: number; readonly identity: string } | undefined> {
  try {
    const { size, ino, mtimeMs, uid, gid, mode } = await files.stat(path)
    return { size, identity: [ino, size, mtimeMs, uid, gid, mode].join() }
  } catch {
    return undefined
  }
}

function temporaryName(
  path: string,
  ending: string,
  { temporaryFolder }: SecretFileOptions,
): string {
  const folder = dirname(path)
  if (temporaryFolder === undefined) return join(folder, `.${basename(path)}.${ending}`)
  // Several folders may have one for their temporary names.
  return join(temporaryFolder, `.${basename(folder)}.${basename(path)}.${ending}`)
}

async function writeTemporary(
  temporary: string,
  bytes: Uint8Array,
  { mode, owner, changedMs }: SecretFileOptions,
  files: SecretFileSystem,
): Promise<void> {
  // A process that was killed may have left the name behind; what it wrote is not used.
  await files.unlink(temporary).catch(() => {})
  const handle = await files.open(temporary, 'wx', 0o600)
  try {
    await handle.writeFile(bytes)
    const { size } = await handle.stat()
    if (size !== bytes.length) throw new Error(`${size} of ${bytes.length} bytes were written`)
    if (owner !== undefined) await handle.chown(owner.uid, owner.gid)
    // After chown, which clears bits; and not left to the umask.
    await handle.chmod(mode)
    if (changedMs !== undefined) await handle.utimes(changedMs / 1000, changedMs / 1000)
  } finally {
    await handle.close()
  }
}

/** How many folders get an owner: the one of the file, and the one above it. */
const OWNED_FOLDERS = 2

/**
 * Makes a folder and those above it that are missing, with FOLDER_MODE whatever the umask. Node.js's own way, `recursive`,
 * goes round for ever in a thread below /proc, where nothing can be made (22, 24 and 26; 20 does not).
 */
async function makeFolders(path: string, owner?: Owner, owned = OWNED_FOLDERS): Promise<void> {
  let isNew: boolean
  try {
    isNew = await makeOneFolder(path)
  } catch (error) {
    if (codeOf(error) !== 'ENOENT' || dirname(path) === path) throw error
    await makeFolders(dirname(path), owner, owned - 1)
    isNew = await makeOneFolder(path)
  }
  if (!isNew) return
  await changeMode(path, FOLDER_MODE)
  if (owner !== undefined && owned > 0) await changeOwner(path, owner.uid, owner.gid)
}

/** Returns false when the folder is there already: after a reboot, files of one folder are written at the same time. */
async function makeOneFolder(path: string): Promise<boolean> {
  try {
    await makeFolder(path)
    return true
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    throw error
  }
}

function failureOf(error: unknown, path: string): TargetFailure {
  const message = `cannot write ${path} as user ${process.getuid?.() ?? 'unknown'}: ${messageOf(error)}`
  switch (codeOf(error)) {
    case 'ENOSPC':
    case 'EDQUOT':
      return { reason: 'space', message }
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return { reason: 'permission', message }
    default:
      return { reason: 'write', message }
  }
}

/**
 * Finds `user` or `user:group`, each by name or number, in the files of this host. Without a group it is the user's own;
 * a user given as a number that no file has is their group, too. Throws ERR_CONFIG when there is no such name.
 */
export function findOwner(
  text: string,
  passwd = readFileSync('/etc/passwd', 'utf8'),
  groups = readFileSync('/etc/group', 'utf8'),
): Owner {
  const [user = '', group] = text.split(':', 2)
  const account = entryOf(passwd, user)
  const uid = account?.[2] ?? numberOr(user, `owner: there is no user ${user} in /etc/passwd`)
  const gid =
    group === undefined
      ? (account?.[3] ?? uid)
      : (entryOf(groups, group)?.[2] ??
        numberOr(group, `owner: there is no group ${group} in /etc/group`))
  return { uid: Number(uid), gid: Number(gid) }
}

/** The line of a file such as /etc/passwd that begins with a name, or has a number in its third field. */
function entryOf(file: string, key: string): string[] | undefined {
  const entries = file.split('\n').map((line) => line.split(':'))
  return entries.find(([name]) => name === key) ?? entries.find(([, , id]) => id === key)
}

function numberOr(text: string, problem: string): string {
  if (/^\d{1,10}$/.test(text)) return text
  throw new TlscachedError('ERR_CONFIG', problem)
}
