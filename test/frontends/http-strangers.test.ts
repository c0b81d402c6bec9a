// The HTTP frontend and the metrics of a terminator towards web pages of other origins, and towards clients that hold
// connections and say nothing.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { afterEach, test } from 'node:test'
import type { Address, HostAddress } from '../../src/base/address.ts'
import { systemClock } from '../../src/base/world.ts'
import { HttpFrontend, type HttpFrontendOptions } from '../../src/frontends/http/frontend.ts'
import { StatsFrontend } from '../../src/frontends/stats/frontend.ts'
import { UwsgiFrontend } from '../../src/frontends/uwsgi/frontend.ts'
import { MetricsServer } from '../../src/terminator/metrics.ts'
import { createCacheFixture } from '../support/cache-fixture.ts'
import { ask } from '../support/http.ts'
import { Backend, LIMITS, PATH, SESSION } from '../support/http-app.ts'
import { RecordingLogger } from '../support/recording-logger.ts'

const running: { stop(): Promise<void> }[] = []
const sockets: Socket[] = []
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy()
  await Promise.all(running.splice(0).map((server) => server.stop()))
})

async function start(options: Partial<HttpFrontendOptions> = {}) {
  const backend = new Backend([LIMITS])
  const frontend = new HttpFrontend({
    listen: { host: '127.0.0.1', port: 0 },
    isInsecure: true,
    backend,
    clock: systemClock,
    logger: new RecordingLogger(),
    ...options,
  })
  running.push(frontend)
  await frontend.start()
  const store = backend.caches.get('ssl')?.store
  assert.ok(store !== undefined)
  return { frontend, store }
}

async function dial(address: Address): Promise<Socket> {
  const socket = connect('path' in address ? { path: address.path } : address)
  socket.on('error', () => {})
  sockets.push(socket)
  await once(socket, 'connect')
  return socket
}

/** One request as a browser sends it, byte for byte, and the whole answer. */
async function send(address: Address, head: string, body = ''): Promise<string> {
  const socket = await dial(address)
  const length = body === '' ? '' : `Content-Length: ${Buffer.byteLength(body)}\r\n`
  socket.end(`${head.replaceAll('\n', '\r\n')}\r\n${length}Connection: close\r\n\r\n${body}`)
  let text = ''
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1')
  })
  await once(socket, 'close')
  return text
}

const OWN = '127.0.0.1:5080'

/** Requests that pages of other origins can make a browser send, and the header that gives each away. */
const FOREIGN: [string, string, string][] = [
  ['a page whose name leads here', `GET /metrics HTTP/1.1\nHost: rebound.example:5080`, 'host'],
  [
    'a page whose name leads here, with a final dot',
    `GET /metrics HTTP/1.1\nHost: rebound.example.`,
    'host',
  ],
  [
    'a name that begins as an address',
    `GET /metrics HTTP/1.1\nHost: 127.0.0.1.evil.example`,
    'host',
  ],
  [
    'a name that begins as localhost',
    `GET /metrics HTTP/1.1\nHost: localhost.evil.example`,
    'host',
  ],
  ['no name at all', `GET /metrics HTTP/1.1\nHost: @`, 'host'],
  [
    'fetch with no-cors',
    `POST ${PATH} HTTP/1.1\nHost: ${OWN}\nOrigin: https://evil.example\nSec-Fetch-Site: cross-site`,
    'origin',
  ],
  ['a form in an old browser', `POST ${PATH} HTTP/1.1\nHost: ${OWN}\nOrigin: null`, 'origin'],
  [
    'another port of localhost',
    `PUT ${PATH} HTTP/1.1\nHost: localhost:5080\nOrigin: http://localhost:3000\nSec-Fetch-Site: same-site`,
    'origin',
  ],
  ['an image', `GET ${PATH} HTTP/1.1\nHost: ${OWN}\nSec-Fetch-Site: cross-site`, 'fetch_site'],
  [
    'an image of a neighbour',
    `GET ${PATH} HTTP/1.1\nHost: ${OWN}\nSec-Fetch-Site: same-site`,
    'fetch_site',
  ],
  ['a preflight', `OPTIONS ${PATH} HTTP/1.1\nHost: ${OWN}\nOrigin: http://evil.example`, 'origin'],
]

for (const [what, head, reason] of FOREIGN) {
  test(`a foreign page is refused: ${what}`, async () => {
    const { frontend, store } = await start()
    await ask(frontend.address, { method: 'PUT', path: PATH, body: SESSION })
    const text = await send(frontend.address, head, head.startsWith('GET') ? '' : 'body')
    assert.match(text, /^HTTP\/1\.1 403 /)
    assert.match(text, /"code":"ERR_FOREIGN"/)
    assert.doesNotMatch(text, /access-control/i)
    const { foreignHost, foreignOrigin, foreignFetchSite } = frontend.stats
    assert.deepEqual(
      { host: foreignHost, origin: foreignOrigin, fetch_site: foreignFetchSite },
      { host: 0, origin: 0, fetch_site: 0, [reason]: 1 },
    )
    assert.equal(store.stats.puts.stored + store.stats.puts.replaced, 1)
    assert.deepEqual((await ask(frontend.address, { path: PATH })).body, SESSION)
  })
}

const OWN_REQUESTS = [
  `GET /healthz HTTP/1.1\nHost: ${OWN}`,
  'GET /healthz HTTP/1.1\nHost: LocalHost:5080',
  'GET /healthz HTTP/1.1\nHost: [::1]:5080',
  'GET /healthz HTTP/1.1\nHost: 10.0.0.9',
  'GET /healthz HTTP/1.0',
  `GET /healthz HTTP/1.1\nHost: ${OWN}\nSec-Fetch-Site: none`,
  `GET /healthz HTTP/1.1\nHost: ${OWN}\nSec-Fetch-Site: same-origin`,
  `GET /healthz HTTP/1.1\nHost: ${OWN}\nOrigin: http://${OWN}\nSec-Fetch-Site: same-origin`,
  'GET /healthz HTTP/1.1\nHost: Node.Example:5080',
  'GET /healthz HTTP/1.1\nHost: node.example\nOrigin: https://node.example',
]

test('its own page, programs and configured names are answered, with headers that keep pages out', async () => {
  const { frontend } = await start({ hosts: ['node.example'] })
  for (const head of OWN_REQUESTS) {
    const text = await send(frontend.address, head)
    assert.match(text, /^HTTP\/1\.1 200 /, head)
    assert.match(text, /\r\nx-content-type-options: nosniff\r\n/i)
    assert.match(text, /\r\ncross-origin-resource-policy: same-origin\r\n/i)
  }
  for (const head of ['no HTTP', 'GET /%zz HTTP/1.1\nHost: a', 'GET /nowhere HTTP/1.1\nHost: ::']) {
    const text = await send(frontend.address, head)
    assert.match(text, /^HTTP\/1\.1 4\d\d /, head)
    assert.match(text, /\r\nx-content-type-options: nosniff\r\n/i, head)
  }
})

test('beyond loopback a scraper may use any name, unless names are configured', async () => {
  const listen = { host: '0.0.0.0', port: 0 }
  const named = 'GET /metrics HTTP/1.1\nHost: node-7.internal:5080'
  const foreign = 'GET /metrics HTTP/1.1\nHost: node-7.internal\nSec-Fetch-Site: cross-site'
  const { frontend: open } = await start({ listen })
  const { port } = open.address as HostAddress
  assert.match(await send({ host: '127.0.0.1', port }, named), /^HTTP\/1\.1 200 /)
  assert.match(await send({ host: '127.0.0.1', port }, foreign), /^HTTP\/1\.1 403 /)
  const { frontend: closed } = await start({ listen, hosts: ['other.internal'] })
  const address = { host: '127.0.0.1', port: (closed.address as HostAddress).port }
  assert.match(await send(address, named), /^HTTP\/1\.1 403 /)
})

test('the metrics of a terminator are not for foreign pages either', async () => {
  const source = { contentType: 'text/plain', text: async () => 'metrics\n' }
  const server = new MetricsServer(source, new RecordingLogger())
  running.push(server)
  const address = await server.start({ host: '127.0.0.1', port: 0 })
  const foreign = await send(address, 'GET /metrics HTTP/1.1\nHost: rebound.example')
  assert.match(foreign, /^HTTP\/1\.1 403 /)
  const own = await send(address, `GET /metrics HTTP/1.1\nHost: ${OWN}`)
  assert.match(own, /^HTTP\/1\.1 200 /)
  assert.match(own, /\r\nx-content-type-options: nosniff\r\n/i)
})

test('the stats frontend tells its document to no foreign page', async () => {
  const backend = new Backend([LIMITS])
  const address = { host: '127.0.0.1', port: 0 }
  const facts = { version: '1.2.3', pid: 1 }
  const frontend = new StatsFrontend({ address, backend, clock: systemClock, process: facts })
  running.push(frontend)
  await frontend.start()
  const own = await send(frontend.address, `GET / HTTP/1.1\nHost: ${OWN}`)
  assert.match(own, /^HTTP\/1\.0 200 OK\r\n/)
  assert.match(own, /\r\nx-content-type-options: nosniff\r\n/i)
  for (const header of ['Host: rebound.example', `Host: ${OWN}\nOrigin: http://evil.example`]) {
    const text = await send(frontend.address, `GET / HTTP/1.1\n${header}`)
    assert.match(text, /^HTTP\/1\.0 403 /)
    assert.doesNotMatch(text, /caches/)
  }
  assert.equal(frontend.stats.foreign, 2)
})

test("what a page can send has no effect on uWSGI's commands", async () => {
  const hooks = new Map([['ssl', createCacheFixture().hooks]])
  const address = { host: '127.0.0.1', port: 0 }
  const frontend = new UwsgiFrontend({ address, hooks, defaultCache: 'ssl', clock: systemClock })
  running.push(frontend)
  await frontend.start()
  // The first byte of a command is 111, "o": methods begin with capitals.
  for (const method of ['GET', 'POST', 'OPTIONS', 'PUT']) {
    const text = await send(frontend.address, `${method} / HTTP/1.1\nHost: ${OWN}`, 'o\0\0\x11')
    assert.equal(text, '')
  }
  assert.equal(frontend.stats.malformed, 4)
})

/** Clients that hold a connection: silent, with half a head, with half a body, answered and idle. */
const HOLDERS = [
  '',
  'GET /healthz HTTP/1.1\r\nHost: 127',
  `PUT ${PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nhalf`,
  'GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n',
]

async function hold(address: Address, count: number): Promise<Socket[]> {
  return await Promise.all(
    Array.from({ length: count }, async (_, index) => {
      const socket = await dial(address)
      socket.write(HOLDERS[index % HOLDERS.length] ?? '')
      return socket
    }),
  )
}

test('1,200 connections that are held deny nobody /healthz', { timeout: 60_000 }, async () => {
  const { frontend } = await start()
  await hold(frontend.address, 1200)
  let denied = 0
  for (let count = 0; count < 50; count += 1) {
    const answer = await ask(frontend.address, { path: '/healthz' }).catch(() => undefined)
    if (answer?.status !== 200) denied += 1
  }
  assert.equal(denied, 0)
  assert.ok(frontend.stats.connections <= 1024)
  assert.ok(frontend.stats.evictedConnections >= 1200 - 1024)
})

test('64 scrapers that say nothing deny nobody the metrics of a terminator', async () => {
  const source = { contentType: 'text/plain', text: async () => 'metrics\n' }
  const server = new MetricsServer(source, new RecordingLogger())
  running.push(server)
  const address = await server.start({ host: '127.0.0.1', port: 0 })
  await hold(address, 100)
  assert.equal((await ask(address, { path: '/metrics' })).status, 200)
})

test('connections that are held end when the limit says', { timeout: 20_000 }, async () => {
  const { frontend } = await start({ requestTimeoutMs: 400 })
  const startMs = performance.now()
  const held = await hold(frontend.address, HOLDERS.length)
  const lastedMs = await Promise.all(
    held.map(async (socket) => {
      socket.resume()
      await once(socket, 'close')
      return performance.now() - startMs
    }),
  )
  assert.ok(Math.min(...lastedMs) >= 400, `one ended after ${Math.min(...lastedMs)} ms`)
})
