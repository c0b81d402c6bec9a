// What a replicator asks of the part of its node that copies and compares stores with peers over TCP.

import type { HostAddress } from '../base/address.ts'
import type { Sender } from './live/senders.ts'
import type { PeerSync } from './peers/presence.ts'

export interface NodeSync {
  /**
   * Listens for TCP on the address of the transport, before any greeting is sent. Resolves with the port that greetings
   * carry; rejects with the system's error.
   */
  listen(address: HostAddress): Promise<number>
  /** A peer proved for the first time that it is alive and where it is, or it is heard again after a silence. */
  greet(peer: Sender): void
  /** No other node is heard; called about once a second as long as that is so. */
  lose(): void
  /** Changes of this peer were lost for good: NACKs can no longer repair them, only a comparison can. */
  requestSync(peer: Sender): void
  /** Returns the state of the last copy of a peer or comparison with it, for display; undefined when there is none. */
  statusOf(peer: Sender): PeerSync | undefined
}
