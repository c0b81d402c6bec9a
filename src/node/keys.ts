// The keyring that a replication section asks for, and whether it may do without.

import { requireKeys } from '../replication/key-requirement.ts'
import { type Keyring, publicKeyring } from '../wire/keyring.ts'
import { loadKeyring } from '../wire/keyring-file.ts'
import type { ReplicationConfig } from './config.ts'

/** Throws ERR_KEYRING when the keys are not usable, ERR_INSECURE when there must be some. */
export function keyringOf(config: ReplicationConfig): Keyring {
  const keyring = config.keysFile === undefined ? config.keys : loadKeyring(config.keysFile)
  requireKeys(
    config.listen,
    [...config.peers, ...config.repeaters],
    keyring !== undefined,
    config.isInsecure,
  )
  return keyring ?? publicKeyring()
}
