// The HTTP frontend on real sockets: bodies that never end, senders that speak no HTTP, and its stop.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, test } from 'node:test'
import { type Address, formatAddress } from '../../src/base/address.ts'
import { systemClock } from '../../src/base/world.ts'
import { HttpFrontend } from '../../src/frontends/http/frontend.ts'
import { ask } from '../support/http.ts'
import { Backend, LIMITS, PATH, SESSION } from '../support/http-app.ts'
import { until } from '../support/latch.ts'
import { RecordingLogger } from '../support/recording-logger.ts'

const folder = mkdtempSync(join(tmpdir(), 'tlscached-http-'))
after(() => rmSync(folder, { recursive: true }))

const running: HttpFrontend[] = []
afterEach(async () => {
  await Promise.all(running.splice(0).map((frontend) => frontend.stop()))
})

async function start(listen: Address = { host: '127.0.0.1', port: 0 }) {
  const backend = new Backend([LIMITS])
  const logger = new RecordingLogger()
  const frontend = new HttpFrontend({
    listen,
    isInsecure: false,
    backend,
    clock: systemClock,
    logger,
  })
  running.push(frontend)
  await frontend.start()
  const store = backend.caches.get('ssl')?.store
  assert.ok(store !== undefined)
  return { frontend, store, logger }
}

async function dial(address: Address): Promise<Socket> {
  const socket = connect('path' in address ? { path: address.path } : address)
  await once(socket, 'connect')
  return socket
}

async function readAll(socket: Socket): Promise<string> {
  let text = ''
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1')
  })
  await once(socket, 'close')
  return text
}

const cutOff = [
  ['with its length announced', 'Content-Length: 100', 'half of it'],
  ['in chunks', 'Transfer-Encoding: chunked', '5\r\nhello\r\n'],
  ['in the middle of a chunk', 'Transfer-Encoding: chunked', '50\r\nhello'],
] as const

for (const [name, header, part] of cutOff) {
  for (const end of ['end', 'resetAndDestroy'] as const) {
    test(`a body cut off half way, ${name}, by ${end}: nothing is stored, nothing is lost`, async () => {
      const { frontend, store } = await start()
      await ask(frontend.address, { method: 'PUT', path: PATH, body: SESSION })
      const socket = await dial(frontend.address)
      const closed = once(socket, 'close')
      socket.resume()
      socket.write(`PUT ${PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\n${header}\r\n\r\n${part}`)
      // The head and the part have arrived when an answer to a later request on another connection has.
      await ask(frontend.address, { path: '/healthz' })
      socket[end]()
      await closed
      const found = await ask(frontend.address, { path: PATH })
      assert.deepEqual([found.status, found.body], [200, SESSION])
      assert.equal(store.stats.puts.stored + store.stats.puts.replaced, 1)
    })
  }
}

test('a body that is announced too large is refused before it is sent', async () => {
  const { frontend, store } = await start()
  const socket = await dial(frontend.address)
  socket.write(`PUT ${PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000000\r\n\r\n`)
  const answer = await readAll(socket)
  assert.match(answer, /^HTTP\/1\.1 413 /)
  assert.match(answer, /"code":"ERR_BLOCKSIZE"/)
  assert.equal(store.stats.items, 0)
})

test('a request that is not HTTP gets an error in the usual form, and the connection ends', async () => {
  const { frontend } = await start()
  for (const garbage of ['\x16\x03\x01\x02\x00\x01', 'get a1b2\r\n\r\n']) {
    const socket = await dial(frontend.address)
    socket.write(garbage, 'latin1')
    const answer = await readAll(socket)
    assert.match(answer, /^HTTP\/1\.1 400 Bad Request\r\n/)
    assert.deepEqual(JSON.parse(answer.split('\r\n\r\n')[1] ?? ''), {
      code: 'ERR_USAGE',
      message: 'wrong usage',
    })
  }
  assert.equal((await ask(frontend.address, { path: '/healthz' })).status, 200)
})

test('over a socket file: for its owner only, gone after the stop', async () => {
  const path = join(folder, 'http.sock')
  const { frontend } = await start({ path })
  assert.equal(statSync(path).mode & 0o777, 0o600)
  assert.equal(formatAddress(frontend.address), `unix:${path}`)
  const put = await ask(frontend.address, { method: 'PUT', path: PATH, body: SESSION })
  assert.equal(put.status, 201)
  await frontend.stop()
  assert.equal(existsSync(path), false)
})

test('a stop ends idle connections at once, and is idempotent', async () => {
  const { frontend } = await start()
  const agent = new Agent({ keepAlive: true })
  const { address } = frontend
  assert.ok('port' in address)
  const sent = request({ ...address, path: '/healthz', agent }).end()
  const [response] = await once(sent, 'response')
  response.resume()
  await once(response, 'end')
  const startMs = performance.now()
  await Promise.all([frontend.stop(), frontend.stop()])
  assert.ok(performance.now() - startMs < 900)
  agent.destroy()
  await assert.rejects(ask(address, { path: '/healthz' }), { code: 'ECONNREFUSED' })
})

test('a stop waits no longer than a second for a sender that has fallen silent', async () => {
  const { frontend } = await start()
  const socket = await dial(frontend.address)
  socket.on('error', () => {})
  socket.resume()
  socket.write(`PUT ${PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nhalf`)
  await ask(frontend.address, { path: '/healthz' })
  const closed = once(socket, 'close')
  const startMs = performance.now()
  await frontend.stop()
  await closed
  const stopMs = performance.now() - startMs
  assert.ok(stopMs < 3000, `the stop took ${stopMs} ms`)
})

test('an address beyond loopback is told in one line at the start', async () => {
  const { logger } = await start({ host: '0.0.0.0', port: 0 })
  await until('it was logged', () => logger.lines.length > 0)
  assert.deepEqual(
    logger.lines.map(({ level, message }) => [level, message]),
    [['warn', 'http: sessions are refused here, the address is not loopback']],
  )
})
