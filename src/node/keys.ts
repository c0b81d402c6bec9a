// The keyring that a replication section asks for, and whether it may do without.

import { requireKeys } from '../replication/key-requirement.ts'
import { type Keyring, publicKeyring } from '../wire/keyring.ts'
import { loadKeyring } from '../wire/keyring-file.ts'
import type { ReplicationConfig } from './config.ts'

/**
 * Throws ERR_KEYRING when the keys are not usable, ERR_INSECURE when there must be some: for what is configured, and for
 * where this node is `bound` already.
 */
export function keyringOf(config: ReplicationConfig, bound = config.listen): Keyring {
  const { keysFile, keysFileMode } = config
  const keyring = keysFile === undefined ? config.keys : loadKeyring(keysFile, keysFileMode)
  const others = [...config.peers, ...config.repeaters]
  for (const listen of [config.listen, bound]) {
    requireKeys(listen, others, keyring !== undefined, config.isInsecure)
  }
  return keyring ?? publicKeyring()
}
