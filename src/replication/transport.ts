// The seam between replication and the network: UDP in production, memory in tests.

import type { HostAddress } from '../base/address.ts'

/** Called for each datagram; the bytes are the receiver's to keep. Never throws. */
export type DatagramReceiver = (datagram: Buffer, from: HostAddress) => void

export interface Transport {
  /** Starts receiving. Rejects with ERR_LISTEN when the address cannot be had. */
  start(receive: DatagramReceiver): Promise<void>
  /** Hands one datagram to the network without waiting; false when it was dropped because too much waits already. */
  send(datagram: Buffer, to: HostAddress): boolean
  /** Where datagrams to this node go: the address bound, with the port the kernel chose. */
  readonly address: HostAddress
  /** The multicast group this transport sends to and receives from, if any. */
  readonly group: HostAddress | undefined
  /** Bytes handed to `send` and not yet taken by the kernel. */
  readonly queuedBytes: number
  /** Closes sockets; idempotent. */
  stop(): Promise<void>
}
