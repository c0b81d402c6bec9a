// Small TLS servers in this process for tests of prove.

import { constants } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'
import { createServer, type Server, type TlsOptions } from 'node:tls'
import type { HostAddress } from '../../src/base/address.ts'
import { CertificateFolder } from '../support/certificates.ts'

export const NO_TICKETS: TlsOptions = { secureOptions: constants.SSL_OP_NO_TICKET }

/** A key and a self-signed certificate, PEM. */
export function makeCertificate(commonName = 'shop.example'): { key: string; cert: string } {
  const folder = new CertificateFolder()
  const { key, cert } = folder.make({ commonName, alternatives: [`DNS:${commonName}`] })
  folder.remove()
  return { key, cert }
}

export interface TlsServer {
  readonly server: Server
  readonly address: HostAddress
}

/** Starts a server that says nothing, and ends it with the test. */
export async function startTlsServer(t: TestContext, options: TlsOptions): Promise<TlsServer> {
  const server = createServer({ sessionIdContext: 'prove', ...options }, (socket) => {
    socket.on('error', () => {})
    socket.resume()
  })
  server.on('tlsClientError', () => {})
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return { server, address: { host: '127.0.0.1', port } }
}

/** Lets servers share TLS 1.2 sessions by their IDs, as a cache would. */
export function shareSessions(servers: readonly Server[]): Map<string, Buffer> {
  const sessions = new Map<string, Buffer>()
  for (const server of servers) {
    server.on('newSession', (id: Buffer, data: Buffer, done: () => void) => {
      sessions.set(id.toString('hex'), data)
      done()
    })
    server.on('resumeSession', (id: Buffer, done: (error: null, data: Buffer | null) => void) => {
      done(null, sessions.get(id.toString('hex')) ?? null)
    })
  }
  return sessions
}
