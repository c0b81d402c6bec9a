// The demo's terminator: answers, bounds, stopping.

import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { connect as connectTcp } from 'node:net'
import { type TestContext, test } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { silentLogger } from '../../src/base/world.ts'
import {
  DEMO_CERTIFICATE,
  startTerminator,
  type TerminatorOptions,
} from '../../src/cli/demo-terminator.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { until } from '../support/latch.ts'
import { closed, createHooks } from '../support/terminator-fixture.ts'
import { handshake } from '../support/tls-client.ts'

const listen = { host: '127.0.0.1', port: 0 }
const request = 'GET / HTTP/1.0\r\n\r\n'

async function start(t: TestContext, options: Partial<TerminatorOptions> = {}) {
  const terminator = await startTerminator({
    listen,
    node: 'edge-1',
    hooks: createHooks(),
    context: 'demo',
    certificate: DEMO_CERTIFICATE,
    sessionTimeoutSec: 300,
    logger: silentLogger,
    ...options,
  })
  t.after(() => terminator.stop())
  return terminator
}

test('names the node, and tells a full handshake from a resumed one', async (t) => {
  const hooks = createHooks()
  const a = await start(t, { hooks })
  const b = await start(t, { hooks, node: 'edge-2' })
  const first = await handshake(a.address.port, { request })
  const second = await handshake(b.address.port, { request, session: first.session })
  assert.match(first.received, /^HTTP\/1\.1 200 OK\r\n.*\r\n\r\nedge-1 full\n$/s)
  assert.match(second.received, /\r\n\r\nedge-2 resumed\n$/)
  assert.match(second.received, /Content-Length: 15\r\n/)
  assert.equal(second.isReused, true)
  assert.equal(b.readStats().handshakes['1.2'].resumed, 1)
  assert.equal(hooks.storeStats.items, 1)
})

test('sessions have the lifetime asked for', async (t) => {
  const hooks = createHooks()
  const a = await start(t, { hooks, sessionTimeoutSec: 60 })
  let ttlMs = 0
  const put = hooks.put.bind(hooks)
  hooks.put = (request) => {
    const result = put(request)
    ttlMs = hooks.get(request.context, request.id)?.ttlMs ?? 0
    return result
  }
  await handshake(a.address.port, { request })
  // The session counts from the full second in which it was made.
  assert.ok(ttlMs > 58_000 && ttlMs <= 60_000, `${ttlMs}`)
})

test('answers a client that ends its side without a line', async (t) => {
  const a = await start(t)
  const { received } = await handshake(a.address.port)
  assert.match(received, /edge-1 full\n$/)
})

test('answers once, whatever is sent after the first line', async (t) => {
  const a = await start(t)
  const { received } = await handshake(a.address.port, { request: request.repeat(50) })
  assert.equal(received.split('HTTP/1.1 200').length, 2)
})

test('breaks off a client whose first line does not end', async (t) => {
  const a = await start(t)
  const socket = connectTls({ ...a.address, ca: DEMO_CERTIFICATE.cert, servername: 'localhost' })
  let received = 0
  socket.on('data', (chunk: Buffer) => {
    received += chunk.length
  })
  socket.write('x'.repeat(20_000))
  await closed(socket)
  assert.equal(received, 0)
})

test('breaks off a silent client after ten seconds, before and after the handshake', async (t) => {
  const clock = new FakeClock()
  const a = await start(t, { clock })
  const silent = connectTcp(a.address)
  const greeted = connectTls({ ...a.address, ca: DEMO_CERTIFICATE.cert, servername: 'localhost' })
  const gone = Promise.all([closed(silent), closed(greeted)])
  await new Promise<void>((resolve) => greeted.once('secureConnect', () => resolve()))
  // One timer a connection (of the handshake or the request), and one for the ClientHello that does not come.
  await until('both are known', () => clock.pendingCount === 3)
  clock.advance(9999)
  assert.equal(clock.pendingCount, 3)
  clock.advance(1)
  await gone
})

test('speaks TLS 1.2 only', async (t) => {
  const a = await start(t)
  await assert.rejects(
    handshake(a.address.port, { minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3' }),
    { code: 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION' },
  )
})

test('bytes that are no TLS do no harm', async (t) => {
  const a = await start(t)
  const socket = connectTcp(a.address)
  socket.write('GET / HTTP/1.0\r\n\r\n')
  socket.resume()
  await closed(socket)
  assert.match((await handshake(a.address.port, { request })).received, /full/)
})

test('stops at once with connections open, twice, and frees the port', async (t) => {
  const clock = new FakeClock()
  const a = await start(t, { clock })
  const socket = connectTls({ ...a.address, ca: DEMO_CERTIFICATE.cert, servername: 'localhost' })
  const gone = closed(socket)
  await new Promise<void>((resolve) => socket.once('secureConnect', () => resolve()))
  await Promise.all([a.stop(), a.stop()])
  await gone
  assert.equal(clock.pendingCount, 0)
  const again = await start(t, { listen: a.address })
  assert.equal(again.address.port, a.address.port)
})

test('an address in use is one clear error', async (t) => {
  const a = await start(t)
  await assert.rejects(start(t, { listen: a.address }), {
    code: 'ERR_LISTEN',
    message: `listen: cannot listen on 127.0.0.1:${a.address.port}: address already in use`,
  })
})

test('the demo certificate is valid for the local machine for a long time', () => {
  const certificate = new X509Certificate(DEMO_CERTIFICATE.cert)
  assert.equal(certificate.checkHost('localhost'), 'localhost')
  assert.equal(certificate.checkIP('127.0.0.1'), '127.0.0.1')
  assert.equal(certificate.checkIP('::1'), '::1')
  assert.ok(new Date(certificate.validTo).getUTCFullYear() > 2100)
})
