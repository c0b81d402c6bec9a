// One TLS connection as a client makes it: says whether it resumed, and brings the session home.

import { type ConnectionOptions, connect } from 'node:tls'
import { DEMO_CERTIFICATE } from '../../src/cli/demo-terminator.ts'

export interface Handshake {
  readonly isReused: boolean
  /** To be offered in a later handshake. */
  readonly session: Buffer | undefined
  /** What the server sent until it closed. */
  readonly received: string
}

/**
 * Connects to a local port, with TLS 1.2 unless said otherwise, sends `request` when there is one and
 * reads until the server closes; without a request it closes itself.
 */
export function handshake(
  port: number,
  options: ConnectionOptions & { readonly request?: string } = {},
): Promise<Handshake> {
  const { request, ...rest } = options
  return new Promise((resolve, reject) => {
    let received = ''
    let session: Buffer | undefined
    let isReused = false
    const socket = connect({
      host: '127.0.0.1',
      port,
      ca: DEMO_CERTIFICATE.cert,
      servername: 'localhost',
      maxVersion: 'TLSv1.2',
      ...rest,
    })
    socket.on('session', (bytes: Buffer) => {
      session = bytes
    })
    socket.on('secureConnect', () => {
      isReused = socket.isSessionReused()
      session ??= socket.getSession()
      if (request === undefined) socket.end()
      else socket.write(request)
    })
    socket.on('data', (chunk: Buffer) => {
      received += chunk.toString('latin1')
    })
    socket.on('error', reject)
    socket.on('close', () => resolve({ isReused, session, received }))
  })
}
