// Loads a keyring from a file, if only root, this process and its groups have access to the file.

import type { Stats } from 'node:fs'
import { codeOf, messageOf, TlscachedError } from '../base/errors.ts'
import { hideKeys } from '../base/hidden-keys.ts'
import { readRegularFile } from '../base/regular-file.ts'
import { type Keyring, parseKeyring } from './keyring.ts'

/** Which files are accepted. `private`: those that `whyNotPrivate` finds private. `any`: all, with any permissions. */
export const KEYS_FILE_MODES = ['private', 'any'] as const
export type KeysFileMode = (typeof KEYS_FILE_MODES)[number]

/** The end of an error about permissions: the setting with which the file is accepted nevertheless. */
const OVERRIDE = 'set replication.keys_file_mode: any (of repeat: --keys-file-mode any)'

const GROUP_BITS = 0o070
const OTHER_BITS = 0o007
const ROOT = 0
/** Largest file; 64 keys with comments take far less. */
const MAX_FILE_BYTES = 65_536

/** The effective user and the groups of this process, by which the kernel decides about its access. */
export interface ProcessOwner {
  readonly uid: number
  /** The effective group and all supplementary groups. */
  readonly groups: readonly number[]
}

/**
 * Loads a keyring. Throws ERR_NO_KEYS when there is no file, ERR_KEYRING when it is unreadable, not private or wrong.
 */
export function loadKeyring(
  path: string,
  mode: KeysFileMode = 'private',
  owner = ownerOfProcess(),
): Keyring {
  try {
    const { text, status } = readRegularFile(path, MAX_FILE_BYTES, (status) => {
      const reason = mode === 'any' ? undefined : whyNotPrivate(status, owner)
      if (reason !== undefined) throw new Error(`${reason}, or ${OVERRIDE}`)
    })
    return parseKeyring(text, { writtenWallMs: status.mtimeMs })
  } catch (error) {
    if (codeOf(error) === 'ENOENT') throw new TlscachedError('ERR_NO_KEYS', missing(hideKeys(path)))
    const message = `${path}: ${messageOf(error)}`
    // When somebody wrote a key in the place of the path, the cause would contain it, too.
    const isPath = hideKeys(path) === path
    throw new TlscachedError('ERR_KEYRING', message, isPath ? { cause: error } : {})
  }
}

function missing(path: string): string {
  return (
    `replication.keys_file (of repeat: --keys-file): there is no ${path}; ` +
    `make it with "tlscached keygen --out ${path}" and copy it to every node`
  )
}

/**
 * Says who else than root, this process and its groups has access to the file, and what to do about it; undefined when
 * nobody has. With an access control list the group's bits are its mask, so a list that gives access to others counts
 * as access of the group.
 */
export function whyNotPrivate(
  { mode, uid, gid }: Pick<Stats, 'mode' | 'uid' | 'gid'>,
  owner: ProcessOwner,
): string | undefined {
  if ((mode & OTHER_BITS) !== 0) return 'everybody has access to it: run chmod 600 on it'
  if (uid !== ROOT && uid !== owner.uid) {
    return `its owner, user ${uid}, is neither root nor the user of this process, ${owner.uid}: run chown on it`
  }
  const isOurGroup = gid === ROOT || owner.groups.includes(gid)
  if ((mode & GROUP_BITS) === 0 || isOurGroup) return undefined
  return `group ${gid}, which this process is not in, has access to it: run chmod 600 on it`
}

function ownerOfProcess(): ProcessOwner {
  const { geteuid, getegid, getgroups } = process
  return { uid: geteuid?.() ?? ROOT, groups: [getegid?.() ?? ROOT, ...(getgroups?.() ?? [])] }
}
