// ClientHellos as Node's own client sends them, and the same in other records.

import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { type ConnectionOptions, connect } from 'node:tls'
import { type ClientHello, ClientHelloReader } from '../../src/session/client-hello.ts'

/** The first bytes that the client sends. */
export async function captureHello(options: ConnectionOptions): Promise<Buffer> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const client = connect({ port, host: '127.0.0.1', ...options }).on('error', () => {})
  const [socket] = await once(server, 'connection')
  const [bytes]: Buffer[] = await once(socket, 'data')
  client.destroy()
  socket.destroy()
  server.close()
  if (bytes === undefined) throw new Error('the client sent nothing')
  return bytes
}

/** Returns the handshake message of `hello` in records of at most `size` bytes. */
export function inRecordsOf(size: number, hello: Buffer): Buffer {
  const message = hello.subarray(5)
  const records: Buffer[] = []
  for (let at = 0; at < message.length; at += size) {
    const piece = message.subarray(at, at + size)
    records.push(Buffer.from([22, 3, 1, piece.length >> 8, piece.length & 0xff]), piece)
  }
  return Buffer.concat(records)
}

/** Reads a ClientHello from bytes that have all arrived. */
export function readClientHello(bytes: Uint8Array): ClientHello | 'incomplete' | undefined {
  return new ClientHelloReader().read(Buffer.from(bytes))
}
