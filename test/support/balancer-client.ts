// A balancer for tests: a stream to a terminator that begins with a PROXY header, in pieces of any size.

import { connect, type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import type { HostAddress } from '../../src/base/address.ts'

export interface SpokenFor {
  /** What a TLS client takes as its socket. */
  readonly stream: Duplex
  readonly socket: Socket
}

/** The header goes out in one segment with what is written first; byte by byte when so asked. */
export function speakFor(
  address: HostAddress,
  header: Uint8Array,
  { isByteByByte = false } = {},
): SpokenFor {
  const socket = connect({ ...address, noDelay: true })
  let isFirst = true
  const stream = new Duplex({
    read: () => socket.resume(),
    write: (chunk: Buffer, _encoding, done) => {
      const bytes = isFirst ? Buffer.concat([header, chunk]) : chunk
      if (isFirst && isByteByByte) void writeSlowly(socket, bytes).then(() => done(), done)
      else socket.write(bytes, done)
      isFirst = false
    },
    final: (done) => socket.end(done),
    destroy: (error, done) => {
      socket.destroy()
      done(error)
    },
  })
  socket.on('data', (chunk: Buffer) => {
    if (!stream.push(chunk)) socket.pause()
  })
  socket.on('end', () => stream.push(null))
  socket.on('error', (error) => stream.destroy(error))
  socket.on('close', () => stream.destroy())
  return { stream, socket }
}

async function writeSlowly(socket: Socket, bytes: Buffer): Promise<void> {
  for (const byte of bytes) {
    socket.write(Buffer.from([byte]))
    // Every byte is a segment of its own: the other side reads between two of them.
    await new Promise((resolve) => setImmediate(resolve))
  }
}
