// Servers that speak in clear by a script before TLS, for tests of prove.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { TLSSocket, type TLSSocketOptions } from 'node:tls'
import type { HostAddress } from '../../src/base/address.ts'
import type { StartTlsProtocol } from '../../src/tls-client/starttls.ts'

/** What a server says, each part after it heard the text before it. */
export type Script = readonly (readonly [heard: string, said: string])[]

export const SCRIPTS: Readonly<Record<StartTlsProtocol, Script>> = {
  smtp: [
    ['', '220-mail.example ESMTP\r\n220 second line\r\n'],
    ['EHLO tlscached.invalid\r\n', '250-mail.example\r\n250-STARTTLS\r\n250 SIZE 1000\r\n'],
    ['STARTTLS\r\n', '220 go ahead\r\n'],
  ],
  imap: [
    ['', '* OK IMAP4rev2 ready\r\n'],
    ['a STARTTLS\r\n', '* CAPABILITY IMAP4rev2\r\na OK begin\r\n'],
  ],
  pop3: [
    ['', '+OK POP3 ready\r\n'],
    ['STLS\r\n', '+OK begin\r\n'],
  ],
  postgres: [['\0\0\0\b\x04\xd2\x16/', 'S']],
}

/** Says each part of the script in two pieces, then hands the connection over. */
async function follow(socket: Socket, script: Script): Promise<void> {
  for (const [heard, said] of script) {
    let text = ''
    while (text.length < heard.length) {
      socket.resume()
      const [chunk]: Buffer[] = await once(socket, 'data')
      text += chunk?.toString('latin1')
    }
    socket.pause()
    assert.equal(text, heard)
    socket.write(said.slice(0, 3))
    await new Promise((resolve) => setImmediate(resolve))
    socket.write(said.slice(3))
  }
}

/** Starts a server that follows the script and then calls `then`; it ends with the test. */
export async function startScripted(
  t: TestContext,
  script: Script,
  then: (socket: Socket) => void,
): Promise<HostAddress> {
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => {})
    follow(socket, script).then(
      () => then(socket),
      () => socket.destroy(),
    )
    t.after(() => socket.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
  })
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port }
}

/** Speaks TLS from here on, and says nothing. */
export function startTlsAfter(options: TLSSocketOptions): (socket: Socket) => void {
  return (socket) => {
    const tls = new TLSSocket(socket, { isServer: true, ...options })
    tls.on('error', () => {})
    tls.resume()
  }
}
