// A keyring from a file that nobody but root, this process and its groups can read.

import type { Stats } from 'node:fs'
import { codeOf, messageOf, TlscachedError } from '../base/errors.ts'
import { hideKeys } from '../base/hidden-keys.ts'
import { readRegularFile } from '../base/regular-file.ts'
import { type Keyring, parseKeyring } from './keyring.ts'

/** `private`: `whyNotPrivate` has nothing against the file. `any`: whoever may read it, it is taken. */
export const KEYS_FILE_MODES = ['private', 'any'] as const
export type KeysFileMode = (typeof KEYS_FILE_MODES)[number]

/** How the error says that a file is taken all the same. */
const OVERRIDE = 'set replication.keys_file_mode: any (of repeat: --keys-file-mode any)'

const GROUP_BITS = 0o070
const OTHER_BITS = 0o007
const ROOT = 0
/** 64 keys with comments stay far below. */
const MAX_FILE_BYTES = 65_536

/** Whom the kernel takes this process for. */
export interface ProcessOwner {
  readonly uid: number
  /** All groups of the process, the supplementary ones among them. */
  readonly groups: readonly number[]
}

/** Throws ERR_NO_KEYS when there is no such file, ERR_KEYRING when it cannot be read, is not private or is wrong. */
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
    // A key in the place of its file's path would be in the cause, too.
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
 * Who can have the keys beside root and this process with its groups, and what to do about it; undefined when nobody can.
 * The mask of an access control list stands in the place of the group's bits, so the group decides about it, too.
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
