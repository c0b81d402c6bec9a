// Loads the keyring of a replication section, and checks whether it may do without keys.

import { requireKeys } from '../replication/key-requirement.ts'
import { type Keyring, publicKeyring } from '../wire/keyring.ts'
import { loadKeyring } from '../wire/keyring-file.ts'
import type { ReplicationConfig } from './config.ts'

/**
 * Returns the configured keyring, or the public one when there are no keys. Throws ERR_NO_KEYS or ERR_KEYRING when the
 * keys cannot be used, and ERR_INSECURE when the configured address, or `bound`, where this node listens already,
 * requires keys.
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
