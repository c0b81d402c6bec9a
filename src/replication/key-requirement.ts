// Whether replication may run without keys: only where nothing leaves the machine, or where the operator set `insecure:
// true`.

import { type HostAddress, isLoopback } from '../base/address.ts'
import { TlscachedError } from '../base/errors.ts'
import { formatPeerSource, type PeerSource } from './peer-source.ts'

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
