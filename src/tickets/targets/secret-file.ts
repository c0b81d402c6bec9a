// Writes a file of ticket keys for a terminator: under a temporary name that nobody had before, with its owner and mode,
// then by rename, so that the terminator sees the old file or the whole new one. Anything that fails leaves the old file.

import {
  type FileHandle,
  open as openFile,
  rename as renameFile,
  statfs as statFileSystem,
  unlink as unlinkFile,
} from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { codeOf, messageOf } from '../../base/errors.ts'

/** Types of file systems that keep everything in memory, as statfs tells them: tmpfs and ramfs. */
const MEMORY_FILE_SYSTEMS: readonly number[] = [0x01021994, 0x858458f6]

export interface SecretFileOptions {
  /** Permission bits; 0o400 unless the terminator reads as a group. */
  readonly mode: number
  /** The user and group that the terminator reads as; absent: those of this process. */
  readonly owner?: { readonly uid: number; readonly gid: number }
  /** Allows a file system that keeps keys on a disk. */
  readonly allowDisk: boolean
}

/** Why a target could not be given its keys. */
export interface TargetFailure {
  readonly reason: 'write' | 'permission' | 'space' | 'disk' | 'check' | 'reload'
  /** Names the file or command and what to do; never a secret. */
  readonly message: string
}

/** The calls to the file system, injected so that a test can make each of them fail. */
export interface SecretFileSystem {
  open(path: string, flags: string, mode: number): Promise<FileHandle>
  rename(from: string, to: string): Promise<void>
  unlink(path: string): Promise<void>
  statfs(path: string): Promise<{ readonly type: number }>
}

export const secretFileSystem: SecretFileSystem = {
  open: openFile,
  rename: renameFile,
  unlink: unlinkFile,
  statfs: (path) => statFileSystem(path),
}

/** Replaces the file with these bytes. Returns what went wrong; the file is then as it was. */
export async function writeSecretFile(
  path: string,
  bytes: Uint8Array,
  options: SecretFileOptions,
  files: SecretFileSystem = secretFileSystem,
): Promise<TargetFailure | undefined> {
  const folder = dirname(path)
  const temporary = join(folder, `.${basename(path)}.tmp`)
  try {
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

async function writeTemporary(
  temporary: string,
  bytes: Uint8Array,
  { mode, owner }: SecretFileOptions,
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
  } finally {
    await handle.close()
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
