// The side that clients see: virtual hosts kept apart, limits, what is counted, and how it stops.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect as connectTcp } from 'node:net'
import { after, describe, type TestContext, test } from 'node:test'
import { type ConnectionOptions, connect } from 'node:tls'
import { createVirtualHosts } from '../../src/terminator/virtual-hosts.ts'
import { CertificateFolder } from '../support/certificates.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { until } from '../support/latch.ts'
import { whyWithout } from '../support/programs.ts'
import {
  closed,
  createHooks,
  greet,
  type RunningFront,
  readAll,
  startFront,
} from '../support/terminator-fixture.ts'

/** One connection to its end: which certificate, whether resumed, and the session for the next one. */
async function visit({ address }: RunningFront, options: ConnectionOptions = {}) {
  const socket = connect({ ...address, rejectUnauthorized: false, ...options })
  let session: Buffer | undefined
  socket.on('session', (bytes: Buffer) => {
    session = bytes
  })
  await once(socket, 'secureConnect')
  const isReused = socket.isSessionReused()
  const name = socket.getPeerCertificate().subject?.CN
  const alpn = socket.alpnProtocol
  const received = await readAll(socket)
  socket.end()
  return { isReused, session, name, alpn, received }
}

/** It ends without an answer; in TLS 1.3 the client may have thought that it was through. */
async function assertFails(
  { address }: RunningFront,
  options: ConnectionOptions,
  expected = /(?:)/,
): Promise<void> {
  const socket = connect({ ...address, rejectUnauthorized: false, ...options })
  let received = 0
  let code = ''
  socket.on('data', (chunk: Buffer) => {
    received += chunk.length
  })
  socket.on('error', (error: Error & { code?: string }) => {
    code = error.code ?? ''
  })
  socket.on('end', () => socket.end())
  await closed(socket)
  assert.equal(received, 0)
  assert.match(code, expected)
}

const VERSIONS = ['1.2', '1.3'] as const
const only = (version: (typeof VERSIONS)[number]): ConnectionOptions => ({
  minVersion: `TLSv${version}`,
  maxVersion: `TLSv${version}`,
})

describe('virtual hosts', { skip: whyWithout('openssl', 'version') }, () => {
  const folder = new CertificateFolder()
  after(() => folder.remove())
  const make = (name: string) => {
    const { cert, key } = folder.make({ commonName: name, alternatives: [`DNS:${name}`] })
    return { name, cert, key }
  }
  const pairs = [make('a.test'), make('b.test')]

  for (const version of VERSIONS) {
    test(`TLS ${version}: each name has its certificate, and its sessions stay its own`, async (t) => {
      const hooks = createHooks()
      const one = await startFront(t, { hooks, hosts: createVirtualHosts(pairs) })
      const other = await startFront(t, { hooks, hosts: createVirtualHosts(pairs.toReversed()) })
      const a = await visit(one, { servername: 'a.test', ...only(version) })
      assert.deepEqual([a.name, a.isReused, a.received], ['a.test', false, 'hello'])
      const session = a.session ?? Buffer.alloc(0)
      const again = await visit(other, { servername: 'a.test', session, ...only(version) })
      assert.equal(again.isReused, true)
      const b = await visit(one, { servername: 'b.test', session, ...only(version) })
      assert.deepEqual([b.name, b.isReused], ['b.test', false])
      const unknown = await visit(one, { servername: 'c.test', session, ...only(version) })
      assert.deepEqual([unknown.name, unknown.isReused], ['a.test', false])
      const { handshakes } = one.front.readStats()
      assert.deepEqual(handshakes[version], { full: 3, resumed: 0 })
      assert.deepEqual(other.front.readStats().handshakes[version], { full: 0, resumed: 1 })
    })
  }

  test('client certificates: who has none, or one of another authority, does not get in', async (t) => {
    const authority = folder.make({ commonName: 'authority' })
    const client = folder.make({ commonName: 'client', issuer: authority })
    const stranger = folder.make({ commonName: 'stranger' })
    const clientCa = authority.cert
    const hooks = createHooks()
    const closed = await startFront(t, {
      hooks,
      clientCa,
      hosts: createVirtualHosts(pairs, { clientCa }),
    })
    const open = await startFront(t, { hooks, hosts: createVirtualHosts(pairs) })
    const { cert, key } = client
    for (const version of VERSIONS) {
      const servername = 'a.test'
      const first = await visit(closed, { servername, cert, key, ...only(version) })
      assert.equal(first.received, 'hello')
      const session = first.session ?? Buffer.alloc(0)
      const second = await visit(closed, { servername, cert, key, session, ...only(version) })
      assert.equal(second.isReused, true)
      const elsewhere = await visit(open, { servername, session, ...only(version) })
      assert.equal(elsewhere.isReused, false)
      await assertFails(closed, {
        servername,
        ...only(version),
        ...(elsewhere.session && { session: elsewhere.session }),
      })
      await assertFails(closed, {
        servername,
        cert: stranger.cert,
        key: stranger.key,
        ...only(version),
      })
    }
    await until('all are counted', () => {
      return closed.front.readStats().failures.client_certificate === 4
    })
  })
})

test('the application protocol is the first of ours that the client has', async (t) => {
  const running = await startFront(t, { alpn: ['h2', 'http/1.1'] })
  const both = await visit(running, { ALPNProtocols: ['http/1.1', 'h2'] })
  assert.equal(both.alpn, 'h2')
  assert.equal((await visit(running)).alpn, false)
  await assertFails(running, { ALPNProtocols: ['x'] }, /NO_APPLICATION_PROTOCOL/)
  await until('it is counted', () => running.front.readStats().failures.negotiation === 1)
})

test('a client with nothing but an older version does not get in', async (t) => {
  const running = await startFront(t, { minVersion: '1.3' })
  await assertFails(running, only('1.2'), /PROTOCOL_VERSION/)
  await until('it is counted', () => running.front.readStats().failures.negotiation === 1)
  assert.equal((await visit(running, only('1.3'))).received, 'hello')
})

test('bytes that are no TLS are answered by the end of the connection, and counted', async (t) => {
  const { front, address } = await startFront(t)
  const socket = connectTcp(address)
  socket.on('error', () => {})
  socket.write('GET / HTTP/1.0\r\n\r\n')
  socket.resume()
  await closed(socket)
  await until('it is counted', () => front.readStats().failures.malformed === 1)
})

test('a connection that goes without a word is counted as closed', async (t) => {
  const { front, address } = await startFront(t)
  const socket = connectTcp(address)
  await once(socket, 'connect')
  socket.end()
  await until('it is counted', () => front.readStats().failures.closed === 1)
  assert.equal(front.readStats().connections, 0)
})

test('a handshake ends at its timeout, however busy the client is', async (t) => {
  const clock = new FakeClock()
  const { front, address } = await startFront(t, { clock, handshakeTimeoutMs: 3000 })
  const socket = connectTcp(address)
  socket.on('error', () => {})
  const gone = closed(socket)
  socket.write(Buffer.from([22, 3, 1, 2]))
  await until('it is known', () => front.readStats().connections === 1)
  clock.advance(2999)
  socket.write(Buffer.from([0]))
  assert.equal(front.readStats().connections, 1)
  clock.advance(1)
  await gone
  await until('it is gone', () => front.readStats().connections === 0)
  clock.advance(0)
  assert.equal(front.readStats().failures.timeout, 1)
  assert.equal(clock.pendingCount, 0)
})

test('the limit of connections holds, and frees its places', async (t) => {
  const running = await startFront(t, { maxConnections: 1, serve: (client) => client.pipe(client) })
  const first = await greet(running.address)
  await assertFails(running, {})
  assert.equal(running.front.readStats().refused, 1)
  first.destroy()
  await until('there is a place', () => running.front.readStats().connections === 0)
  const second = await greet(running.address)
  second.destroy()
})

test('stopping lets open connections end, and takes no new ones', async (t) => {
  const { front, address } = await startFront(t, { serve: (client) => client.pipe(client) })
  const client = await greet(address)
  let isStopped = false
  const stopped = front.stop(60_000).then(() => {
    isStopped = true
  })
  await assert.rejects(greet(address), { code: 'ECONNREFUSED' })
  client.write('still there')
  const [echo]: Buffer[] = await once(client, 'data')
  assert.deepEqual([echo?.toString(), isStopped], ['still there', false])
  client.end()
  await stopped
})

test('stopping breaks off what is open when the time is over', async (t: TestContext) => {
  const clock = new FakeClock()
  const { front, address } = await startFront(t, { clock, serve: (client) => client.resume() })
  const client = await greet(address)
  client.on('error', () => {})
  await until('the handshake is over', () => front.readStats().handshakes['1.3'].full === 1)
  const stopped = Promise.all([front.stop(5000), front.stop(5000)])
  clock.advance(5000)
  await stopped
  await closed(client)
  assert.equal(clock.pendingCount, 0)
})

test('an address that is taken: one clear error, and the others are free again', async (t) => {
  const { address } = await startFront(t)
  const { front, address: free } = await startFront(t)
  await front.stop()
  await assert.rejects(startFront(t, { listen: [free, address] }), {
    code: 'ERR_LISTEN',
    message: `listen: cannot listen on 127.0.0.1:${address.port}: address already in use`,
  })
  await startFront(t, { listen: [free] })
})
