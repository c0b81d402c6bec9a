// TLS 1.3 and server names, through the ClientHello: over real connections between servers that share a store.

import assert from 'node:assert/strict'
import { constants } from 'node:crypto'
import { once } from 'node:events'
import { createSecureServer } from 'node:http2'
import { createServer as createHttpsServer } from 'node:https'
import { type AddressInfo, connect as connectTcp, createServer as createTcpServer } from 'node:net'
import { type TestContext, test } from 'node:test'
import { type ConnectionOptions, connect, createServer, type Server } from 'node:tls'
import { DEMO_CERTIFICATE } from '../../src/cli/demo-terminator.ts'
import type { AttachOptions } from '../../src/hooks/attach-options.ts'
import type { LocalHooks } from '../../src/hooks/local-hooks.ts'
import { attachSessionCache } from '../../src/hooks/node-tls.ts'
import { createLiveCache } from '../support/cache-fixture.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { until } from '../support/latch.ts'
import { OpensslClient } from '../support/openssl-client.ts'
import { whyWithout } from '../support/programs.ts'

const CONTEXT = 'shop.example'
const SERVER_OPTIONS = {
  ...DEMO_CERTIFICATE,
  secureOptions: constants.SSL_OP_NO_TICKET,
  sessionIdContext: CONTEXT,
}
const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const

async function attach(
  t: TestContext,
  server: Server,
  hooks: LocalHooks,
  options: Partial<AttachOptions> = {},
) {
  const binding = attachSessionCache(server, hooks, { context: CONTEXT, ...options })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    binding.detach()
    server.close()
  })
  return { binding, port: (server.address() as AddressInfo).port }
}

function createTlsServer(): Server {
  return createServer(SERVER_OPTIONS, (socket) => {
    socket.on('error', () => {})
    socket.end('hello')
  })
}

/** One connection until the server ends it; TLS 1.3 sessions come after the handshake. */
async function handshake(port: number, options: ConnectionOptions = {}) {
  const socket = connect({
    port,
    host: '127.0.0.1',
    ca: DEMO_CERTIFICATE.cert,
    servername: 'localhost',
    // The certificate is one for localhost, whatever name is asked for.
    checkServerIdentity: () => undefined,
    ...options,
  })
  const sessions: Buffer[] = []
  socket.on('session', (session: Buffer) => sessions.push(session))
  let isReused = false
  socket.on('secureConnect', () => {
    isReused = socket.isSessionReused()
  })
  socket.end('GET / HTTP/1.0\r\n\r\n')
  socket.resume()
  await once(socket, 'close')
  return { isReused, session: sessions.at(-1) }
}

for (const version of VERSIONS) {
  const only: ConnectionOptions = { minVersion: version, maxVersion: version }

  test(`${version}: made on one server, resumed on the other, again and again`, async (t) => {
    const { hooks } = createLiveCache()
    const a = await attach(t, createTlsServer(), hooks)
    const b = await attach(t, createTlsServer(), hooks)
    const { isReused, session } = await handshake(a.port, only)
    assert.equal(isReused, false)
    for (let time = 0; time < 3; time += 1) {
      assert.equal((await handshake(b.port, { ...only, session })).isReused, true)
    }
    assert.equal(b.binding.stats.offered, 3)
    assert.equal(b.binding.stats.found, 3)
    await until('all are counted', () => b.binding.stats.accepted === 3)
  })

  const title = `${version}: a session made under one server name does not resume under another`
  test(title, { skip: whyWithout('openssl', 'version') }, async (t) => {
    const { hooks, store } = createLiveCache()
    const a = await attach(t, createTlsServer(), hooks)
    const client = new OpensslClient(t, a.port)
    const flag = version === 'TLSv1.2' ? '-tls1_2' : '-tls1_3'
    assert.equal(await client.make([flag, '-servername', 'a.test']), 'New')
    const offer = (...name: string[]) => client.offer([flag, ...name])
    assert.equal(await offer('-servername', 'b.test'), 'New')
    assert.equal(await offer('-noservername'), 'New')
    assert.equal(store.stats.gets.context_mismatch, 2)
    assert.equal(await offer('-servername', 'a.test'), 'Reused')
  })

  test(`${version}: a ClientHello that comes byte by byte`, async (t) => {
    const { hooks } = createLiveCache()
    const a = await attach(t, createTlsServer(), hooks)
    const port = await startSlowProxy(t, a.port)
    const { session } = await handshake(port, only)
    assert.equal((await handshake(port, { ...only, session })).isReused, true)
  })
}

test('TLS 1.3 through https and http2 servers', async (t) => {
  const { hooks } = createLiveCache()
  const tls = await attach(t, createTlsServer(), hooks)
  const https = createHttpsServer(SERVER_OPTIONS, (_request, response) => response.end('hello'))
  const http2 = createSecureServer({ ...SERVER_OPTIONS, allowHTTP1: true }, (_request, response) =>
    response.end('hello'),
  )
  const { session } = await handshake(tls.port)
  for (const server of [https, http2]) {
    const { port } = await attach(t, server, hooks)
    assert.equal((await handshake(port, { session })).isReused, true)
  }
})

test('single use: a TLS 1.3 session resumes once, the one it brings resumes next', async (t) => {
  const { hooks } = createLiveCache(true)
  const a = await attach(t, createTlsServer(), hooks)
  const first = await handshake(a.port)
  const second = await handshake(a.port, { session: first.session })
  assert.equal(second.isReused, true)
  assert.equal((await handshake(a.port, { session: first.session })).isReused, false)
  assert.equal((await handshake(a.port, { session: second.session })).isReused, true)
})

test('many connections at once keep their ClientHellos apart', async (t) => {
  const { hooks } = createLiveCache()
  const a = await attach(t, createTlsServer(), hooks)
  const names = Array.from({ length: 30 }, (_, number) => `name-${number}.test`)
  const made = await Promise.all(names.map((servername) => handshake(a.port, { servername })))
  const again = await Promise.all(
    names.map((servername, index) =>
      handshake(a.port, { servername, session: made[index]?.session }),
    ),
  )
  assert.ok(again.every(({ isReused }) => isReused))
})

test('bytes that are no ClientHello go to TLS unchanged, and harm no other connection', async (t) => {
  const { hooks } = createLiveCache()
  const a = await attach(t, createTlsServer(), hooks)
  for (const garbage of [
    'GET / HTTP/1.0\r\n\r\n',
    '\x16\x03\x01\x00\x00',
    '\x16\x03\x01\xff\xff\x02',
  ]) {
    const socket = connectTcp(a.port, '127.0.0.1').on('error', () => {})
    socket.end(Buffer.from(garbage, 'latin1'))
    socket.resume()
    await once(socket, 'close')
  }
  assert.equal((await handshake(a.port)).isReused, false)
})

test('a client that is slow is handed to TLS after ten seconds, one that ends is gone', async (t) => {
  const clock = new FakeClock()
  const { hooks } = createLiveCache()
  const server = createTlsServer()
  const a = await attach(t, server, hooks, { clock })
  const slow = connectTcp(a.port, '127.0.0.1')
  slow.write(Buffer.from([22, 3, 1]))
  const ended = connectTcp(a.port, '127.0.0.1').on('error', () => {})
  await until('both are being read', () => clock.pendingCount === 2)
  ended.end(Buffer.from([22, 3]))
  ended.resume()
  await once(ended, 'close')
  await until('one is left', () => clock.pendingCount === 1)
  clock.advance(10_000)
  assert.equal(clock.pendingCount, 0)
  // TLS has it now, and says what it thinks of the rest.
  slow.write(Buffer.from('no TLS at all'))
  const [alert]: Buffer[] = await once(slow, 'data')
  assert.equal(alert?.[0], 21)
  slow.destroy()
})

/** Passes on what a client sends one byte at a time. */
async function startSlowProxy(t: TestContext, port: number): Promise<number> {
  const proxy = createTcpServer({ allowHalfOpen: true }, async (client) => {
    const server = connectTcp({ port, host: '127.0.0.1', noDelay: true })
    server.on('error', () => client.destroy())
    client.on('error', () => server.destroy())
    server.pipe(client)
    for await (const chunk of client) {
      for (const byte of chunk as Buffer) {
        server.write(Uint8Array.of(byte))
        // Each byte in a packet of its own: the next turn of the event loop.
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
    server.end()
  })
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  t.after(() => proxy.close())
  return (proxy.address() as AddressInfo).port
}
