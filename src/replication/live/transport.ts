// The seam between replication and the network: UDP in production, memory in tests.

import type { HostAddress } from '../../base/address.ts'

/** Called for each datagram; the receiver may keep the bytes and never throws. */
export type DatagramReceiver = (datagram: Buffer, from: HostAddress) => void

export interface Transport {
  /** Starts receiving. Rejects with the system's error when it cannot bind the address. */
  start(receive: DatagramReceiver): Promise<void>
  /** Hands one datagram to the network without waiting; false when it was dropped because the send queue is full. */
  send(datagram: Buffer, to: HostAddress): boolean
  /** The bound unicast address, with the port that the kernel chose; before `start`, the configured one. */
  readonly address: HostAddress
  /** The multicast group this transport sends to and receives from, if any. */
  readonly group: HostAddress | undefined
  /** Bytes handed to `send` that the kernel has not taken yet. */
  readonly queuedBytes: number
  /** Closes the sockets; idempotent. */
  stop(): Promise<void>
}
