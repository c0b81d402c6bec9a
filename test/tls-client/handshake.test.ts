// The probing client against real TLS servers: what it says of their sessions, and how it says why there was none.

import assert from 'node:assert/strict'
import { createHmac, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { type TestContext, test } from 'node:test'
import { systemClock } from '../../src/base/world.ts'
import { readClientSession } from '../../src/tls-client/client-session.ts'
import {
  type ClientSettings,
  createClient,
  type Failure,
  HandshakeError,
  type TlsVersion,
} from '../../src/tls-client/handshake.ts'
import { makeCertificate, NO_TICKETS, shareSessions, startTlsServer } from '../prove/tls-fixture.ts'
import { FakeClock } from '../support/fake-clock.ts'

const VERSIONS: readonly TlsVersion[] = ['1.2', '1.3']

function clientOf(settings: Partial<ClientSettings> = {}) {
  return createClient(systemClock, { timeoutMs: 10_000, serverName: 'shop.example', ...settings })
}

async function failureOf(handshake: Promise<unknown>): Promise<Failure> {
  const error: unknown = await handshake.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof HandshakeError, `${error}`)
  return error.failure
}

for (const version of VERSIONS) {
  test(`TLS ${version}: a ticket, the name of its key and its lifetime; it resumes`, async (t) => {
    const ticketKeys = randomBytes(48)
    const options = { ...makeCertificate(), ticketKeys, sessionTimeout: 77 }
    const { address } = await startTlsServer(t, options)
    const shakeHands = clientOf()
    const full = await shakeHands(address, { version, takesTickets: true })
    assert.equal(full.isResumed, false)
    assert.equal(full.session?.mechanism, 'ticket')
    assert.equal(full.session.keyName, ticketKeys.toString('hex', 0, 16))
    assert.equal(full.session.lifetimeSec, 77)
    assert.deepEqual([full.session.hasZeroMac, full.session.takesEarlyData], [false, false])
    assert.match(full.certificate, /^[0-9a-f]{64}$/)
    assert.ok(full.durationMs > 0)
    const session = full.session.bytes
    const again = await shakeHands(address, { version, takesTickets: true, session })
    assert.equal(again.isResumed, true)
    assert.equal(again.session, undefined)
  })
}

test('TLS 1.2: without tickets on either side the session has an ID', async (t) => {
  const certificate = makeCertificate()
  const ticketing = await startTlsServer(t, certificate)
  const caching = await startTlsServer(t, { ...certificate, ...NO_TICKETS })
  shareSessions([ticketing.server, caching.server])
  const shakeHands = clientOf()
  for (const [address, takesTickets] of [
    [ticketing.address, false],
    [caching.address, true],
  ] as const) {
    const { session } = await shakeHands(address, { version: '1.2', takesTickets })
    assert.equal(session?.mechanism, 'session_id')
    assert.deepEqual([session.keyName, session.lifetimeSec], [undefined, undefined])
    const request = { version: '1.2', takesTickets, session: session.bytes } as const
    assert.equal((await shakeHands(address, request)).isResumed, true)
  }
})

test('TLS 1.3: a ticket that is only an ID is a stateful one', async (t) => {
  const { address } = await startTlsServer(t, { ...makeCertificate(), ...NO_TICKETS })
  const { session } = await clientOf()(address, { version: '1.3', takesTickets: true })
  assert.equal(session?.mechanism, 'stateful_ticket')
  assert.equal(session.keyName, undefined)
  assert.ok((session.lifetimeSec ?? 0) > 0)
})

test('a ticket whose HMAC was made with zeros is seen', async (t) => {
  const { address } = await startTlsServer(t, makeCertificate())
  const { session } = await clientOf()(address, { version: '1.2', takesTickets: true })
  assert.ok(session !== undefined)
  assert.equal(session.hasZeroMac, false)
  const bytes = Buffer.from(session.bytes)
  const name = Buffer.from(session.keyName ?? '', 'hex')
  const start = bytes.indexOf(name)
  // The length of the ticket stands before it, in two bytes or one.
  const length = bytes[start - 2] === 0x81 ? (bytes[start - 1] ?? 0) : bytes.readUInt16BE(start - 2)
  const end = start + length
  const mac = createHmac('sha256', Buffer.alloc(16)).update(bytes.subarray(start, end - 32))
  mac.digest().copy(bytes, end - 32)
  assert.equal(readClientSession(bytes).hasZeroMac, true)
})

test('an authority that did not sign the certificate is reported, and resumption is tried all the same', async (t) => {
  const { address } = await startTlsServer(t, makeCertificate())
  const { cert: ca } = makeCertificate('other.example')
  const strict = await clientOf({ ca })(address, { version: '1.2', takesTickets: true })
  assert.match(strict.distrust ?? '', /SELF_SIGNED|certificate/i)
  const lenient = await clientOf()(address, { version: '1.2', takesTickets: true })
  assert.equal(lenient.distrust, undefined)
})

for (const version of VERSIONS) {
  test(`TLS ${version}: a server that asks for a certificate refuses without one`, async (t) => {
    const { cert, key } = makeCertificate()
    const options = { cert, key, ca: cert, requestCert: true, rejectUnauthorized: true }
    const { address } = await startTlsServer(t, options)
    const request = { version, takesTickets: true }
    assert.equal(await failureOf(clientOf()(address, request)), 'refused')
    const { session } = await clientOf({ cert, key })(address, request)
    assert.equal(session?.mechanism, 'ticket')
  })

  test(`a server without TLS ${version} is one without this version`, async (t) => {
    const limits = { '1.2': { minVersion: 'TLSv1.3' }, '1.3': { maxVersion: 'TLSv1.2' } } as const
    const { address } = await startTlsServer(t, { ...makeCertificate(), ...limits[version] })
    assert.equal(await failureOf(clientOf()(address, { version, takesTickets: true })), 'version')
  })
}

async function startPlainServer(t: TestContext, answer: string | undefined) {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.on('data', () => answer !== undefined && socket.end(answer))
    t.after(() => socket.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
  })
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port }
}

const REQUEST = { version: '1.2', takesTickets: true } as const

test('nobody listens', async (t) => {
  const { server, address } = await startTlsServer(t, makeCertificate())
  await new Promise((resolve) => server.close(resolve))
  assert.equal(await failureOf(clientOf()(address, REQUEST)), 'unreachable')
})

test('a server of plain HTTP speaks no TLS', async (t) => {
  const address = await startPlainServer(t, 'HTTP/1.1 400 Bad Request\r\n\r\n')
  assert.equal(await failureOf(clientOf()(address, REQUEST)), 'not_tls')
})

test('a server that never answers is given up in time', async (t) => {
  const address = await startPlainServer(t, undefined)
  const clock = new FakeClock()
  const shakeHands = createClient(clock, { timeoutMs: 3000 })
  const failure = failureOf(shakeHands(address, REQUEST))
  clock.advance(3000)
  assert.equal(await failure, 'timeout')
  assert.equal(clock.pendingCount, 0)
})

test('a session bound to a server name, as newer releases of Node.js give it out, reads as the one in it', async (t) => {
  const { address } = await startTlsServer(t, makeCertificate())
  const { session } = await clientOf()(address, { version: '1.2', takesTickets: true })
  const bytes = session?.bytes ?? Buffer.alloc(0)
  const encoded = bytes.subarray(bytes.indexOf(Buffer.from([0x30, 0x82])))
  const name = Buffer.from('\0nodejs:tls:session:1\0\0\x0cshop.example', 'latin1')
  const bound = readClientSession(Buffer.concat([name, encoded]))
  assert.deepEqual({ ...bound, bytes: encoded }, readClientSession(encoded))
})
