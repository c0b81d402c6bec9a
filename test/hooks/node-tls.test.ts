// TLS servers of Node.js that share one store, over real connections.

import assert from 'node:assert/strict'
import { constants } from 'node:crypto'
import { createServer as createHttpsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import { createServer, type Server, type TlsOptions } from 'node:tls'
import { fastify } from 'fastify'
import { DEMO_CERTIFICATE } from '../../src/cli/demo-terminator.ts'
import type { AttachOptions } from '../../src/hooks/attach-options.ts'
import type { SessionHooks } from '../../src/hooks/hooks.ts'
import { attachSessionCache } from '../../src/hooks/node-tls.ts'
import { BusyClock } from '../support/busy-clock.ts'
import { createLiveCache } from '../support/cache-fixture.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { until } from '../support/latch.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { encodeSession } from '../support/session-encoder.ts'
import { handshake } from '../support/tls-client.ts'

const CONTEXT = 'shop.example'
const DEADLINE_MS = 50
/** For events that a test emits itself: there is no connection, and so no ClientHello. */
const WITHOUT_HELLO = { context: CONTEXT, readsClientHello: false }
const serverOptions = {
  ...DEMO_CERTIFICATE,
  secureOptions: constants.SSL_OP_NO_TICKET,
  sessionIdContext: CONTEXT,
}

async function listen(server: Server, t: TestContext): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => new Promise((resolve) => server.close(resolve)))
  return (server.address() as AddressInfo).port
}

/** A server that ends each connection, joined to the cache. */
async function serve(
  t: TestContext,
  hooks: SessionHooks,
  tlsOptions: TlsOptions = {},
  attachOptions: Partial<AttachOptions> = {},
) {
  const server = createServer({ ...serverOptions, ...tlsOptions })
  server.on('secureConnection', (socket) =>
    socket
      .on('error', () => {})
      .resume()
      .end(),
  )
  const binding = attachSessionCache(server, hooks, { context: CONTEXT, ...attachOptions })
  t.after(() => binding.detach())
  return { server, binding, port: await listen(server, t) }
}

test('a session made on one server resumes on the other', async (t) => {
  const { hooks, store } = createLiveCache()
  const a = await serve(t, hooks)
  const b = await serve(t, hooks)
  const first = await handshake(a.port)
  const second = await handshake(b.port, { session: first.session })
  assert.equal(first.isReused, false)
  assert.equal(second.isReused, true)
  assert.equal(store.stats.items, 1)
  assert.equal(a.binding.stats.stored, 1)
  assert.equal(a.binding.stats.offered, 0)
  const { offered, found, accepted, late, failed } = b.binding.stats
  assert.deepEqual(
    { offered, found, accepted, late, failed },
    { offered: 1, found: 1, accepted: 1, late: 0, failed: 0 },
  )
})

test('under another session ID context the handshake is a full one', async (t) => {
  const { hooks, store } = createLiveCache()
  const a = await serve(t, hooks)
  const b = await serve(t, hooks, { sessionIdContext: 'bank' }, { context: 'bank' })
  const { session } = await handshake(a.port)
  assert.equal((await handshake(b.port, { session })).isReused, false)
  assert.equal(store.stats.gets.context_mismatch, 1)
  assert.deepEqual([b.binding.stats.offered, b.binding.stats.found], [1, 0])
})

test('what the cache refuses is counted by reason', async (t) => {
  const { hooks } = createLiveCache()
  const put = () => 'full' as const
  const a = await serve(t, { get: hooks.get.bind(hooks), put, remove: () => false })
  const { session } = await handshake(a.port)
  assert.equal((await handshake(a.port, { session })).isReused, false)
  assert.equal(a.binding.stats.refused.full, 2)
  assert.equal(a.binding.stats.stored, 0)
})

const never = new Promise<never>(() => {})
const fail = () => {
  throw new Error('the cache is broken')
}
const otherSession = encodeSession({ id: Buffer.alloc(32, 1), context: Buffer.from(CONTEXT) })
const found = (session: Buffer) => ({ session, ttlMs: 1000 })

interface BrokenCache {
  readonly what: string
  readonly get: SessionHooks['get']
  readonly put: SessionHooks['put']
  /** After one handshake that offers a session. */
  readonly counted: { readonly late: number; readonly failed: number }
}

const brokenCaches: BrokenCache[] = [
  { what: 'throws', get: fail, put: fail, counted: { late: 0, failed: 2 } },
  {
    what: 'rejects',
    get: () => Promise.reject(new Error('unreachable')),
    put: () => Promise.reject(new Error('unreachable')),
    counted: { late: 0, failed: 2 },
  },
  { what: 'never answers', get: () => never, put: () => never, counted: { late: 2, failed: 0 } },
  {
    what: 'gives back bytes that are no session',
    get: () => found(Buffer.from('no session')),
    put: () => 'stored',
    counted: { late: 0, failed: 1 },
  },
  {
    what: 'gives back another session',
    get: () => Promise.resolve(found(otherSession)),
    put: () => Promise.resolve('stored'),
    counted: { late: 0, failed: 1 },
  },
  ...[null, false, 'session', {}, { session: 'text', ttlMs: 1000 }].flatMap((answer) => [
    {
      what: `answers ${JSON.stringify(answer)}`,
      get: () => answer as never,
      put: () => answer as never,
      counted: { late: 0, failed: 2 },
    },
    {
      what: `answers a promise of ${JSON.stringify(answer)}`,
      get: () => Promise.resolve(answer as never),
      put: () => Promise.resolve(answer as never),
      counted: { late: 0, failed: 2 },
    },
  ]),
]
for (const { what, get, put, counted } of brokenCaches) {
  test(`a cache that ${what} costs no more than a full handshake`, async (t) => {
    const { hooks } = createLiveCache()
    const working = await serve(t, hooks)
    const { session } = await handshake(working.port)
    const clock = new FakeClock()
    const logger = new RecordingLogger()
    // Time passes exactly to the deadline each time the cache was asked.
    const passing = <T extends unknown[], R>(call: (...given: T) => R) => {
      return (...given: T) => {
        setImmediate(() => clock.advance(DEADLINE_MS))
        return call(...given)
      }
    }
    const broken = { get: passing(get), put: passing(put), remove: () => false }
    const b = await serve(t, broken, {}, { deadlineMs: DEADLINE_MS, clock, logger })
    const { isReused } = await handshake(b.port, { session })
    assert.equal(isReused, false)
    const { late, failed } = b.binding.stats
    assert.deepEqual({ late, failed }, counted)
    assert.equal(b.binding.stats.offered, 1)
    assert.equal(b.binding.stats.found, 0)
    assert.equal(clock.pendingCount, 0)
    assert.ok(logger.lines.length <= 2)
  })
}

test('with the real clock, a cache that never answers costs the deadline once and no more', async (t) => {
  const { hooks } = createLiveCache()
  const working = await serve(t, hooks)
  const { session } = await handshake(working.port)
  const silent = { get: () => never, put: () => never, remove: () => false }
  const b = await serve(t, silent, {}, { deadlineMs: 20 })
  const startMs = performance.now()
  const { isReused } = await handshake(b.port, { session })
  const tookMs = performance.now() - startMs
  assert.equal(isReused, false)
  // 20 ms of waiting for the get, none for the put; the rest is room for a busy machine.
  assert.ok(tookMs >= 19 && tookMs < 2000, `${tookMs} ms`)
})

/** What Node would call, to see how often the callbacks are called. */
function emitResume(server: Server, id: Buffer): unknown[][] {
  const calls: unknown[][] = []
  server.emit('resumeSession', id, (...given: unknown[]) => calls.push(given))
  return calls
}

test('an answer after the deadline is ignored: the callback is called once', async () => {
  const clock = new FakeClock()
  const server = createServer(serverOptions)
  const id = Buffer.alloc(32, 1)
  let answer = (_: { session: Buffer; ttlMs: number }) => {}
  const slow = new Promise<{ session: Buffer; ttlMs: number }>((resolve) => {
    answer = resolve
  })
  const hooks: SessionHooks = { get: () => slow, put: () => 'stored', remove: () => false }
  const binding = attachSessionCache(server, hooks, { ...WITHOUT_HELLO, deadlineMs: 50, clock })
  const calls = emitResume(server, id)
  clock.advance(49)
  assert.deepEqual(calls, [])
  clock.advance(1)
  assert.deepEqual(calls, [[null, null]])
  answer(found(otherSession))
  await slow
  await new Promise(setImmediate)
  assert.equal(calls.length, 1)
  const { late, found: foundCount, failed } = binding.stats
  assert.deepEqual({ late, foundCount, failed }, { late: 1, foundCount: 0, failed: 0 })
})

test('an answer that came while this process was busy is not late', async () => {
  const clock = new BusyClock()
  const server = createServer(serverOptions)
  const answers = [Promise.resolve(undefined), never]
  const get = () => answers.shift()
  const hooks: SessionHooks = { get, put: () => 'stored', remove: () => false }
  const binding = attachSessionCache(server, hooks, { ...WITHOUT_HELLO, clock })
  const calls = [emitResume(server, Buffer.alloc(32, 1)), emitResume(server, Buffer.alloc(32, 2))]
  clock.advance(DEADLINE_MS)
  assert.equal(clock.heldCount, 2)
  await new Promise(setImmediate)
  assert.deepEqual(calls, [[[null, null]], []])
  clock.handled()
  assert.deepEqual(calls, [[[null, null]], [[null, null]]])
  assert.equal(binding.stats.late, 1)
})

test('an answer before the deadline is passed on once, and no timer is left', async () => {
  const clock = new FakeClock()
  const server = createServer(serverOptions)
  const hooks: SessionHooks = {
    get: () => Promise.resolve(found(otherSession)),
    put: () => 'stored',
    remove: () => false,
  }
  attachSessionCache(server, hooks, { ...WITHOUT_HELLO, clock })
  const calls = emitResume(server, Buffer.alloc(32, 1))
  await until('the cache has answered', () => calls.length > 0)
  clock.advance(1000)
  assert.deepEqual(calls, [[null, otherSession]])
  assert.equal(clock.pendingCount, 0)
})

test('a put that is answered at once holds no handshake', () => {
  const clock = new FakeClock()
  const server = createServer(serverOptions)
  const { hooks } = createLiveCache()
  const binding = attachSessionCache(server, hooks, { ...WITHOUT_HELLO, clock })
  let calls = 0
  server.emit('newSession', Buffer.alloc(32, 1), otherSession, () => {
    calls += 1
  })
  assert.equal(calls, 1)
  assert.equal(clock.pendingCount, 0)
  assert.equal(binding.stats.stored, 1)
})

test('after detach the server is as before, and who waited goes on', () => {
  const clock = new FakeClock()
  const server = createServer(serverOptions)
  const listenersOf = () =>
    ['resumeSession', 'newSession', 'secureConnection'].map((event) => server.listenerCount(event))
  const before = listenersOf()
  const hooks: SessionHooks = { get: () => never, put: () => never, remove: () => false }
  const binding = attachSessionCache(server, hooks, { ...WITHOUT_HELLO, clock })
  assert.notDeepEqual(listenersOf(), before)
  const calls = emitResume(server, Buffer.alloc(32, 1))
  binding.detach()
  binding.detach()
  assert.deepEqual(calls, [[null, null]])
  assert.deepEqual(listenersOf(), before)
  assert.equal(clock.pendingCount, 0)
})

test('without the ClientHello, TLS 1.3 sessions are not stored: none could be found', async (t) => {
  const { hooks, store } = createLiveCache()
  const a = await serve(t, hooks, {}, { readsClientHello: false })
  await handshake(a.port, { maxVersion: 'TLSv1.3', minVersion: 'TLSv1.3' })
  await until('Node has told of the sessions', () => a.binding.stats.skipped > 0)
  assert.equal(store.stats.items, 0)
  assert.equal(a.binding.stats.stored, 0)
})

test('https.createServer resumes what a tls server made', async (t) => {
  const { hooks } = createLiveCache()
  const a = await serve(t, hooks)
  const server = createHttpsServer(serverOptions, (_request, response) => response.end('hello'))
  attachSessionCache(server, hooks, { context: CONTEXT })
  const port = await listen(server, t)
  const { session } = await handshake(a.port)
  const request = 'GET / HTTP/1.0\r\n\r\n'
  const { isReused, received } = await handshake(port, { session, request })
  assert.equal(isReused, true)
  assert.match(received, /hello$/)
})

test("fastify's https server resumes what a tls server made", async (t) => {
  const { hooks } = createLiveCache()
  const a = await serve(t, hooks)
  const app = fastify({ https: serverOptions })
  app.get('/', () => 'hello')
  const { stats } = attachSessionCache(app.server, hooks, { context: CONTEXT })
  await app.listen({ port: 0, host: '127.0.0.1' })
  t.after(() => app.close())
  const { port } = app.server.address() as AddressInfo
  const { session } = await handshake(a.port)
  const request = 'GET / HTTP/1.0\r\n\r\n'
  const { isReused, received } = await handshake(port, { session, request })
  assert.equal(isReused, true)
  assert.match(received, /hello$/)
  assert.equal(stats.accepted, 1)
})

interface RefusedServer {
  readonly what: string
  readonly tlsOptions?: TlsOptions
  readonly context?: string
  readonly readsClientHello?: boolean
  readonly message: RegExp
}

const refusedServers: RefusedServer[] = [
  {
    what: 'with tickets',
    tlsOptions: { secureOptions: 0 },
    message: /secureOptions.*SSL_OP_NO_TICKET/,
  },
  {
    what: 'with other secureOptions',
    tlsOptions: { secureOptions: constants.SSL_OP_CIPHER_SERVER_PREFERENCE },
    message: /secureOptions.*SSL_OP_NO_TICKET/,
  },
  {
    what: 'without a session ID context',
    tlsOptions: { sessionIdContext: undefined },
    message: /sessionIdContext/,
  },
  { what: 'with another session ID context', context: 'bank', message: /sessionIdContext/ },
  { what: 'asked to use the empty context', context: '', message: /sessionIdContext/ },
  {
    what: 'with TLS 1.3 only and no look at the ClientHello',
    tlsOptions: { minVersion: 'TLSv1.3' },
    readsClientHello: false,
    message: /minVersion/,
  },
]
for (const { what, tlsOptions = {}, context = CONTEXT, message, ...options } of refusedServers) {
  const { readsClientHello = true } = options
  test(`a server ${what} is refused`, () => {
    const server = createServer({ ...serverOptions, ...tlsOptions })
    const { hooks } = createLiveCache()
    assert.throws(() => attachSessionCache(server, hooks, { context, readsClientHello }), {
      code: 'ERR_SERVER',
      message,
    })
    assert.equal(server.listenerCount('newSession'), 0)
  })
}

test('a second cache on one server is refused', () => {
  const server = createServer(serverOptions)
  const { hooks } = createLiveCache()
  attachSessionCache(server, hooks, { context: CONTEXT })
  assert.throws(() => attachSessionCache(server, hooks, { context: CONTEXT }), {
    code: 'ERR_SERVER',
    message: /resumeSession/,
  })
})

test('a context of more than 32 bytes is refused', () => {
  const server = createServer(serverOptions)
  const { hooks } = createLiveCache()
  assert.throws(() => attachSessionCache(server, hooks, { context: 'x'.repeat(33) }), {
    code: 'ERR_CONTEXT',
  })
})
