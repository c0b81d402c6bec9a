// Sends sealed datagrams with changes in pieces where the path does not carry them whole and does not report it: a
// tunnel with a small MTU behind a filter that drops the ICMP messages about it.

import { encodePiece, PIECE_OVERHEAD_BYTES } from '../../wire/message.ts'
import type { Sealer } from '../../wire/seal.ts'
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

export interface PieceOptions {
  readonly sealer: Sealer
  readonly transport: Transport
  readonly stats: Pick<ReplicationStats, 'datagramsSent' | 'dropped'>
}

/** The largest piece size below `bytes`; undefined when there is none. */
export function pieceBytesBelow(bytes: number): number | undefined {
  return PIECE_BYTES.find((size) => size < bytes)
}

/**
 * Sends a datagram with changes to a peer, in pieces when its path carries less; false when it, or any piece, was
 * dropped.
 */
export function sendWholeOrInPieces(
  options: PieceOptions,
  datagram: Buffer,
  sequence: number,
  to: Parameters<Transport['send']>[1],
  sender: Sender | undefined,
): boolean {
  const pathBytes = sender?.pathBytes
  if (pathBytes === undefined || datagram.length <= pathBytes) {
    return options.transport.send(datagram, to)
  }
  const chunkBytes = pathBytes - options.sealer.overheadBytes - PIECE_OVERHEAD_BYTES
  const count = Math.ceil(datagram.length / chunkBytes)
  let isSent = true
  for (let index = 0; index < count; index += 1) {
    const chunk = datagram.subarray(index * chunkBytes, (index + 1) * chunkBytes)
    const piece = encodePiece({ sequence, index, count, chunk })
    isSent = options.transport.send(options.sealer.seal('control', piece), to) && isSent
  }
  // The caller counts one datagram itself.
  options.stats.datagramsSent += count - 1
  return isSent
}
