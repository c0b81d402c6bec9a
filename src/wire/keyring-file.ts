// A keyring from a file that only its owner can read.

import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs'
import { messageOf, TlscachedError } from '../base/errors.ts'
import { type Keyring, parseKeyring } from './keyring.ts'

const GROUP_AND_OTHERS = 0o077
/** 64 keys with comments stay far below. */
const MAX_FILE_BYTES = 65_536

/** Throws ERR_KEYRING with the path when the file cannot be read, may be read by others or is wrong. */
export function loadKeyring(path: string): Keyring {
  let descriptor: number | undefined
  try {
    descriptor = openSync(path, 'r')
    // Asked of the open file, so that it cannot be exchanged between the question and the reading.
    const status = fstatSync(descriptor)
    if (!status.isFile()) throw new Error('not a regular file')
    if (status.size > MAX_FILE_BYTES) throw new Error(`larger than ${MAX_FILE_BYTES} bytes`)
    if ((status.mode & GROUP_AND_OTHERS) !== 0) {
      throw new Error('group or others have access to it; run chmod 600 on it')
    }
    return parseKeyring(readFileSync(descriptor, 'utf8'), { writtenWallMs: status.mtimeMs })
  } catch (error) {
    throw new TlscachedError('ERR_KEYRING', `${path}: ${messageOf(error)}`, { cause: error })
  } finally {
    if (descriptor !== undefined) closeSync(descriptor)
  }
}
