// A connection over a unix socket that leaves nothing behind of what it received. By itself Node.js reads into new memory
// for each piece, and since release 22 it copies what came out of that and frees the rest as it is.

import { connect, type Socket } from 'node:net'
import type { UnixAddress } from './address.ts'

/** Bytes of one read. */
const READ_BYTES = 16_384

/**
 * Connects to a unix socket. Its `data` events have views of one buffer, which is filled with zeros when the listeners
 * have returned: they copy what they keep, and erase their copies.
 */
export function connectSecretly({ path }: UnixAddress): Socket {
  const buffer = Buffer.alloc(READ_BYTES)
  const socket = connect({
    path,
    onread: {
      buffer,
      callback(bytes) {
        try {
          socket.emit('data', buffer.subarray(0, bytes))
        } finally {
          buffer.fill(0, 0, bytes)
        }
        return true
      },
    },
  })
  return socket
}
