// Loads the keyring of a replication section, and checks whether it may do without keys.

import { type HostAddress, isLoopback } from '../base/address.ts'
import { TlscachedError } from '../base/errors.ts'
import { formatPeerSource, type PeerSource } from '../replication/peers/discovery.ts'
import { type Keyring, publicKeyring } from '../wire/keyring.ts'
import type { ReplicationConfig } from './config.ts'
import { systemKeysFiles } from './keys-file-watch.ts'

/**
 * Returns the configured keyring, or the public one when there are no keys. Throws ERR_NO_KEYS or ERR_KEYRING when the
 * keys cannot be used, and ERR_INSECURE when the configured address, or `bound`, where this node listens already,
 * requires keys.
 */
export function keyringOf(
  config: ReplicationConfig,
  bound = config.listen,
  files = systemKeysFiles,
): Keyring {
  const { keysFile, keysFileMode } = config
  const keyring = keysFile === undefined ? config.keys : files.load(keysFile, keysFileMode)
  const others = [...config.peers, ...config.repeaters]
  for (const listen of [config.listen, bound]) {
    requireKeys(listen, others, keyring !== undefined, config.isInsecure)
  }
  return keyring ?? publicKeyring()
}

// Whether replication may run without keys: only where nothing leaves the machine, or where the operator set `insecure:
// true`.

/**
 * Throws ERR_INSECURE when session secrets would cross the network in clear: no keys, and an address
 * that is not loopback. Names other than `localhost` may lead anywhere, and a multicast group does.
 */
export function requireKeys(
  listen: HostAddress,
  peers: readonly PeerSource[],
  hasKeys: boolean,
  isInsecure: boolean,
): void {
  if (hasKeys || isInsecure) return
  const exposed = [listen, ...peers].find((source) => 'service' in source || !isLoopback(source))
  if (exposed === undefined) return
  throw new TlscachedError(
    'ERR_INSECURE',
    `replication with ${formatPeerSource(exposed)} needs keys, because it is not a loopback address: ` +
      'make some with "tlscached keygen", or set insecure: true to send sessions in clear',
  )
}
