// How a connection comes from its first bytes to TLS: whoever read from it before, however early its client leaves,
// whichever listeners were there first, and what is renewed meanwhile.

import assert from 'node:assert/strict'
import { constants } from 'node:crypto'
import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { createServer as createHttpsServer, get as httpsGet } from 'node:https'
import {
  type AddressInfo,
  connect as connectTcp,
  createServer as createTcpServer,
  type Socket,
  type Server as TcpServer,
} from 'node:net'
import { type TestContext, test } from 'node:test'
import { connect, createServer, type Server, type TlsOptions } from 'node:tls'
import { DEMO_CERTIFICATE } from '../../src/cli/demo-terminator.ts'
import { attachSessionCache } from '../../src/hooks/node-tls.ts'
import { createLiveCache } from '../support/cache-fixture.ts'
import { until } from '../support/latch.ts'
import { OpensslClient } from '../support/openssl-client.ts'
import { whyWithout } from '../support/programs.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { handshake } from '../support/tls-client.ts'

const CONTEXT = 'shop.example'
const SERVER_OPTIONS: TlsOptions = {
  ...DEMO_CERTIFICATE,
  secureOptions: constants.SSL_OP_NO_TICKET,
  sessionIdContext: CONTEXT,
}
const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const

async function listen(t: TestContext, server: TcpServer): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  return (server.address() as AddressInfo).port
}

/** A TLS server that says hello and closes, joined to a cache; it listens itself only when told to. */
function createJoined(t: TestContext, options: TlsOptions = {}) {
  const { hooks } = createLiveCache()
  const logger = new RecordingLogger()
  const server = createServer({ ...SERVER_OPTIONS, ...options }, (socket) => {
    socket.on('error', () => {})
    socket.end('hello')
  })
  const binding = attachSessionCache(server, hooks, { context: CONTEXT, logger })
  t.after(() => binding.detach())
  return { server, binding, logger, hooks }
}

/** What a program does with a connection before the TLS server gets it. */
interface Road {
  readonly what: string
  readonly pass: (socket: Socket, tls: Server) => void
}

const ROADS: Road[] = [
  {
    what: 'was read once, and is resumed in the next tick',
    pass: (socket, tls) => {
      socket.once('data', (chunk) => {
        socket.pause()
        socket.unshift(chunk)
        tls.emit('connection', socket)
        process.nextTick(() => socket.resume())
      })
    },
  },
  {
    what: "was read by a 'readable' listener that has just been removed",
    pass: (socket, tls) => {
      const onReadable = () => {
        const chunk = socket.read()
        if (chunk === null) return
        socket.off('readable', onReadable)
        socket.unshift(chunk)
        tls.emit('connection', socket)
      }
      socket.on('readable', onReadable)
    },
  },
  {
    what: 'was read up to the middle of its ClientHello, and flows',
    pass: (socket, tls) => {
      socket.once('data', (chunk: Buffer) => {
        socket.pause()
        socket.unshift(chunk.subarray(0, 20))
        tls.emit('connection', socket)
        process.nextTick(() => socket.resume())
        setImmediate(() => socket.push(chunk.subarray(20)))
      })
    },
  },
]
for (const { what, pass } of ROADS) {
  for (const version of VERSIONS) {
    test(`${version}: a connection that ${what}`, { timeout: 10_000 }, async (t) => {
      const { server, binding } = createJoined(t)
      const port = await listen(
        t,
        createTcpServer((socket) => pass(socket, server)),
      )
      const options = { minVersion: version, maxVersion: version, request: 'hi' }
      const first = await handshake(port, options)
      const second = await handshake(port, { ...options, session: first.session })
      assert.deepEqual([first.received, second.received], ['hello', 'hello'])
      assert.equal(second.isReused, true)
      assert.equal(binding.stats.accepted, 1)
    })
  }
}

test('one port for http and https, as it is usually written', { timeout: 10_000 }, async (t) => {
  const { hooks } = createLiveCache()
  const http = createHttpServer((_request, response) => response.end('plain'))
  const https = createHttpsServer(SERVER_OPTIONS, (_request, response) => response.end('secure'))
  const binding = attachSessionCache(https, hooks, { context: CONTEXT })
  t.after(() => binding.detach())
  const port = await listen(
    t,
    createTcpServer((socket) => {
      socket.once('data', (chunk: Buffer) => {
        socket.pause()
        socket.unshift(chunk)
        const server = chunk[0] === 22 ? https : http
        server.emit('connection', socket)
        process.nextTick(() => socket.resume())
      })
    }),
  )
  const plain = await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' } })
  assert.equal(await plain.text(), 'plain')
  for (let time = 0; time < 3; time += 1) {
    const request = httpsGet({ port, host: '127.0.0.1', agent: false, ca: DEMO_CERTIFICATE.cert })
    const [response] = await once(request, 'response')
    const [body] = await once(response, 'data')
    assert.equal(String(body), 'secure')
  }
})

test('the server is told at once of a client that leaves behind its ClientHello', async (t) => {
  const joined = createJoined(t)
  const port = await listen(t, joined.server)
  const hello = await captureHello()
  const told = once(joined.server, 'tlsClientError')
  const client = connectTcp(port, '127.0.0.1').on('error', () => {})
  client.end(hello)
  client.resume()
  const [error] = await told
  assert.equal(error.code, 'ECONNRESET')
  await once(client, 'close')
})

for (const allowHalfOpen of [false, true]) {
  const server = allowHalfOpen ? 'a half-open server' : 'a server'

  for (const [how, leave] of [
    ['ends', (client: Socket) => client.end()],
    ['breaks off', (client: Socket) => client.resetAndDestroy()],
  ] as const) {
    test(`${server} is told of a client that ${how} before its ClientHello is there`, async (t) => {
      const joined = createJoined(t, { allowHalfOpen })
      const accepted = once(joined.server, 'connection')
      const port = await listen(t, joined.server)
      const told = once(joined.server, 'tlsClientError')
      const client = connectTcp(port, '127.0.0.1').on('error', () => {})
      client.resume()
      client.write(Buffer.from([22, 3]))
      await accepted
      leave(client)
      const [error, socket] = await told
      assert.equal(error.code, 'ECONNRESET')
      assert.equal(socket.destroyed, true)
    })
  }
}

/** The first bytes of a TLS client. */
async function captureHello(): Promise<Buffer> {
  const server = createTcpServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1' })
  client.on('error', () => {})
  const [socket] = await once(server, 'connection')
  const [hello] = await once(socket, 'data')
  client.destroy()
  server.close()
  return hello
}

test('a listener that was prepended before ours is not taken for that of Node.js', async (t) => {
  const { hooks } = createLiveCache()
  const server = createServer(SERVER_OPTIONS, (socket) => socket.end('hello'))
  let seen = 0
  server.prependListener('connection', () => {
    seen += 1
  })
  const binding = attachSessionCache(server, hooks, { context: CONTEXT })
  t.after(() => binding.detach())
  const port = await listen(t, server)
  const { session } = await handshake(port)
  assert.equal((await handshake(port, { session })).isReused, true)
  assert.equal(seen, 2)
})

test("a server whose listener has another name is refused when it is not the only one's", () => {
  const { hooks } = createLiveCache()
  const server = createServer(SERVER_OPTIONS)
  const [own] = server.listeners('connection')
  assert.equal(own?.name, 'tlsConnectionListener')
  server.removeAllListeners('connection')
  // A release that calls it something else.
  server.on('connection', (...given) => Reflect.apply(own ?? assert.fail(), server, given))
  const attach = () => attachSessionCache(server, hooks, { context: CONTEXT })
  attach().detach()
  server.on('connection', () => {})
  assert.throws(attach, { code: 'ERR_SERVER', message: /which of them is Node\.js/ })
})

for (const version of VERSIONS) {
  test(`${version}: a renewed certificate, and sessions go on`, async (t) => {
    const { server, binding, logger } = createJoined(t)
    const port = await listen(t, server)
    const only = { minVersion: version, maxVersion: version, request: 'hi' }
    const { session } = await handshake(port, only)
    server.setSecureContext({ ...DEMO_CERTIFICATE })
    assert.equal((await handshake(port, { ...only, session })).isReused, true)
    assert.equal(binding.stats.problem, undefined)
    assert.deepEqual(logger.lines, [])
    binding.detach()
    assert.equal(Object.hasOwn(server, 'setSecureContext'), false)
  })
}

test('a renewal that ends resumption is told at that moment', async (t) => {
  const { server, binding, logger } = createJoined(t)
  const port = await listen(t, server)
  await handshake(port)
  server.setSecureContext({ ...DEMO_CERTIFICATE, secureOptions: 0 })
  assert.match(binding.stats.diagnosis, /hands out session tickets/)
  server.setSecureContext({ ...DEMO_CERTIFICATE, sessionIdContext: 'other' })
  assert.match(binding.stats.diagnosis, /hands out session tickets/)
  assert.deepEqual(
    logger.lines.map(({ level }) => level),
    ['warn'],
  )
})

test('a second server with the same setup, as fastify has one on localhost, is told of', async (t) => {
  const { server, binding, logger } = createJoined(t)
  const port = await listen(t, server)
  const sibling = createServer(SERVER_OPTIONS, (socket) => socket.end('hello'))
  const siblingPort = await listen(t, sibling)
  const stranger = createServer({ ...SERVER_OPTIONS, sessionIdContext: 'bank' }, (socket) => {
    socket.end('hello')
  })
  await handshake(port)
  await handshake(await listen(t, stranger))
  assert.equal(binding.stats.problem, undefined)
  for (let time = 0; time < 2; time += 1) await handshake(siblingPort)
  assert.match(binding.stats.diagnosis, /another TLS server of this process/)
  assert.equal(logger.lines.length, 1)
})

test('a client that has to send its ClientHello again resumes', {
  skip: whyWithout('openssl', 'version'),
}, async (t) => {
  const { server, binding } = createJoined(t, { ecdhCurve: 'P-256' })
  const port = await listen(t, server)
  // Its first key share is none that the server takes: the server answers with a HelloRetryRequest.
  const args = ['-tls1_3', '-groups', 'X25519:P-256']
  const client = new OpensslClient(t, port)
  assert.equal(await client.make(args), 'New')
  for (let time = 0; time < 10; time += 1) assert.equal(await client.offer(args), 'Reused')
  await until('all are counted', () => binding.stats.accepted === 10)
})
