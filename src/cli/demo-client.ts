// The TLS client of the demo: one handshake at a time, with or without a session to resume.

import { once } from 'node:events'
import { connect as connectTcp } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import type { HostAddress } from '../base/address.ts'
import { DEMO_CERTIFICATE } from './demo-terminator.ts'

const TIMEOUT_MS = 5000
/** Longest answer that is read; the terminator's answer has a few hundred bytes. */
const MAX_ANSWER_BYTES = 65_536

export interface Handshake {
  /** Duration of the TLS handshake as the client sees it, without that of the TCP connection. */
  readonly durationMs: number
  /** Whether the handshake resumed a session, by what TLS reports and not by the server's answer. */
  readonly isResumed: boolean
  /** Encoded session, which another handshake can offer. */
  readonly session: Buffer
}

/** Makes a TLS 1.2 connection, reads the server's answer and closes. */
export async function shakeHands(address: HostAddress, session?: Buffer): Promise<Handshake> {
  const tcp = connectTcp(address)
  tcp.setNoDelay(true)
  await once(tcp, 'connect')
  const startMs = performance.now()
  const tls = connectTls({
    socket: tcp,
    servername: 'localhost',
    ca: DEMO_CERTIFICATE.cert,
    maxVersion: 'TLSv1.2',
    timeout: TIMEOUT_MS,
    ...(session !== undefined && { session }),
  })
  return finish(tls, startMs)
}

function finish(socket: TLSSocket, startMs: number): Promise<Handshake> {
  return new Promise((resolve, reject) => {
    let handshake: Handshake | undefined
    let answerBytes = 0
    socket.on('secureConnect', () => {
      const durationMs = performance.now() - startMs
      const made = socket.getSession()
      if (made === undefined) {
        socket.destroy(new Error('the TLS client has no session'))
        return
      }
      handshake = { durationMs, isResumed: socket.isSessionReused(), session: made }
      socket.end('GET / HTTP/1.0\r\n\r\n')
    })
    socket.on('data', (chunk: Buffer) => {
      answerBytes += chunk.length
      if (answerBytes > MAX_ANSWER_BYTES) socket.destroy(new Error('the answer is too long'))
    })
    socket.on('timeout', () => socket.destroy(new Error(`no answer within ${TIMEOUT_MS} ms`)))
    socket.on('error', reject)
    socket.on('close', () => {
      if (handshake !== undefined && answerBytes > 0) resolve(handshake)
      else reject(new Error('the connection ended before the answer'))
    })
  })
}
