// What is said in clear before TLS, against servers that follow a script, and how prove goes on with TLS after it.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../src/base/world.ts'
import { createClient, HandshakeError } from '../../src/tls-client/handshake.ts'
import { STARTTLS_PROTOCOLS, type StartTlsProtocol } from '../../src/tls-client/starttls.ts'
import { makeCertificate } from '../prove/tls-fixture.ts'
import { SCRIPTS, type Script, startScripted, startTlsAfter } from './scripted-server.ts'

const REQUEST = { version: '1.3', takesTickets: true } as const

for (const protocol of STARTTLS_PROTOCOLS) {
  test(`${protocol}: TLS begins after the words before it`, async (t) => {
    const certificate = makeCertificate()
    const address = await startScripted(t, SCRIPTS[protocol], startTlsAfter(certificate))
    const shakeHands = createClient(systemClock, { timeoutMs: 10_000, startTls: protocol })
    const { session } = await shakeHands(address, REQUEST)
    assert.equal(session?.mechanism, 'ticket')
  })
}

const REFUSALS: readonly {
  readonly name: string
  readonly protocol: StartTlsProtocol
  readonly script: Script
  readonly message: RegExp
}[] = [
  {
    name: 'an SMTP server that does not offer it',
    protocol: 'smtp',
    script: [
      ['', '220 mail.example\r\n'],
      ['EHLO tlscached.invalid\r\n', '250-mail.example\r\n250 SIZE 1000\r\n'],
    ],
    message: /smtp: the server answered "250-mail.example"/,
  },
  {
    name: 'an IMAP server that refuses',
    protocol: 'imap',
    script: [
      ['', '* OK ready\r\n'],
      ['a STARTTLS\r\n', 'a BAD no such command\r\n'],
    ],
    message: /imap: the server answered "a BAD no such command"/,
  },
  {
    name: 'a PostgreSQL server without TLS',
    protocol: 'postgres',
    script: [['\0\0\0\b\x04\xd2\x16/', 'N']],
    message: /postgres: the server answered "N"/,
  },
  {
    name: 'another protocol',
    protocol: 'pop3',
    script: [['', '\u001b[2JSSH-2.0-x\r\n']],
    message: /pop3: the server answered "\\u001b\[2JSSH-2.0-x"/,
  },
  {
    name: 'an answer without end',
    protocol: 'smtp',
    script: [['', `220-${'x'.repeat(20_000)}`]],
    message: /more than 16384 bytes before TLS began/,
  },
]

for (const { name, protocol, script, message } of REFUSALS) {
  test(`${name} is told with its own words`, async (t) => {
    const address = await startScripted(t, script, () => {})
    const shakeHands = createClient(systemClock, { timeoutMs: 10_000, startTls: protocol })
    await assert.rejects(shakeHands(address, REQUEST), (error: unknown) => {
      assert.ok(error instanceof HandshakeError)
      assert.equal(error.failure, 'starttls')
      assert.match(error.message, message)
      return true
    })
  })
}

test('a server that closes before TLS', async (t) => {
  const address = await startScripted(t, [['', '220 x']], (socket) => socket.end())
  const shakeHands = createClient(systemClock, { timeoutMs: 10_000, startTls: 'smtp' })
  await assert.rejects(shakeHands(address, REQUEST), /the server closed before TLS began/)
})
