// Sends sealed datagrams and counts them. One with changes goes in pieces where the path does not carry it whole and
// does not report it: a tunnel with a small MTU behind a filter that drops the ICMP messages about it.

import type { HostAddress } from '../../base/address.ts'
import type { Clock } from '../../base/world.ts'
import { encodePiece, PIECE_OVERHEAD_BYTES } from '../../wire/message.ts'
import type { Sealer } from '../../wire/seal.ts'
import type { PeerAddresses } from '../peers/addresses.ts'
import type { ReplicationStats } from '../stats.ts'
import type { Sender } from './senders.ts'
import type { Transport } from './transport.ts'

/** First protocol version with pieces. */
export const PIECES_VERSION = 2
/**
 * Sizes of a datagram with a piece, largest first: what every IPv6 path carries with room for a tunnel, and what every
 * IPv4 host takes, 576 bytes less the headers.
 */
const PIECE_BYTES = [1200, 548] as const

/** What every part of a node that sends datagrams is given. */
export interface Sending {
  readonly sealer: Sealer
  readonly transport: Transport
  readonly addresses: PeerAddresses
  readonly clock: Clock
  readonly stats: SendStats
}

export interface SendStats extends Pick<ReplicationStats, 'datagramsSent'> {
  readonly dropped: Pick<ReplicationStats['dropped'], 'queue_full'>
}

/** The largest piece size below `bytes`; undefined when there is none. */
export function pieceBytesBelow(bytes: number): number | undefined {
  return PIECE_BYTES.find((size) => size < bytes)
}

/** Sends a sealed datagram, and counts it as sent or as dropped. */
export function send(
  { transport, stats }: Pick<Sending, 'transport' | 'stats'>,
  datagram: Buffer,
  to: HostAddress,
): void {
  count(stats, transport.send(datagram, to))
}

/**
 * Sends a datagram with changes to a peer, in pieces when its path carries less, and counts it; false when it, or any
 * piece, was dropped.
 */
export function sendWholeOrInPieces(
  { transport, sealer, stats }: Pick<Sending, 'transport' | 'sealer' | 'stats'>,
  datagram: Buffer,
  sequence: number,
  to: HostAddress,
  sender: Sender | undefined,
): boolean {
  const pathBytes = sender?.pathBytes
  if (pathBytes === undefined || datagram.length <= pathBytes) {
    return count(stats, transport.send(datagram, to))
  }
  const chunkBytes = pathBytes - sealer.overheadBytes - PIECE_OVERHEAD_BYTES
  const pieces = Math.ceil(datagram.length / chunkBytes)
  let isSent = true
  for (let index = 0; index < pieces; index += 1) {
    const chunk = datagram.subarray(index * chunkBytes, (index + 1) * chunkBytes)
    const piece = encodePiece({ sequence, index, count: pieces, chunk })
    isSent = transport.send(sealer.seal('control', piece), to) && isSent
  }
  stats.datagramsSent += pieces - 1
  return count(stats, isSent)
}

function count(stats: SendStats, isSent: boolean): boolean {
  if (isSent) stats.datagramsSent += 1
  else stats.dropped.queue_full += 1
  return isSent
}
