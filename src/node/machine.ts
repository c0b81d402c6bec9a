// What a node uses of the machine that it runs on, besides its clock: sockets, names, addresses of interfaces and files
// of keys.

import { type OpenTransport, UdpTransport } from '../replication/live/udp-transport.ts'
import {
  type InterfaceAddresses,
  systemInterfaceAddresses,
} from '../replication/peers/addresses.ts'
import {
  type Resolver,
  type ServiceResolver,
  systemResolver,
  systemServiceResolver,
} from '../replication/peers/discovery.ts'
import { type SyncStreams, tlsStreams } from '../replication/sync/tls.ts'
import { type KeysFiles, systemKeysFiles } from './keys.ts'

/** Replaced as a whole by tests that run several machines in one process. */
export interface Machine {
  /** Makes the transport of the replication socket and of each listener for uWSGI. */
  readonly openTransport: OpenTransport
  /** Streams on which stores are copied and compared. */
  readonly syncStreams: SyncStreams
  readonly resolver: Resolver
  readonly serviceResolver: ServiceResolver
  readonly interfaceAddresses: InterfaceAddresses
  readonly keysFiles: KeysFiles
}

/** Returns the machine that this process runs on. */
export function systemMachine(): Machine {
  return {
    openTransport: (options) => new UdpTransport(options),
    syncStreams: tlsStreams,
    resolver: systemResolver,
    serviceResolver: systemServiceResolver,
    interfaceAddresses: systemInterfaceAddresses(),
    keysFiles: systemKeysFiles,
  }
}
