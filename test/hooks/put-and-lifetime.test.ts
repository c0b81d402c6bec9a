// What becomes of a session that a handshake makes: its put holds nobody up, and it lives no longer than the session that
// the handshake resumed had left.

import assert from 'node:assert/strict'
import { AsyncResource } from 'node:async_hooks'
import { constants } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import { createServer, type Server } from 'node:tls'
import { DEMO_CERTIFICATE } from '../../src/cli/demo-terminator.ts'
import type { FoundSession, SessionHooks } from '../../src/hooks/hooks.ts'
import { attachSessionCache } from '../../src/hooks/node-tls.ts'
import { createLiveCache } from '../support/cache-fixture.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { until } from '../support/latch.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { handshake } from '../support/tls-client.ts'

const CONTEXT = 'shop.example'
const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const
const LEFT_MS = 5000

function createTlsServer(): Server {
  const server = createServer({
    ...DEMO_CERTIFICATE,
    secureOptions: constants.SSL_OP_NO_TICKET,
    sessionIdContext: CONTEXT,
  })
  server.on('secureConnection', (socket) => {
    socket.on('error', () => {})
    socket.end('x')
  })
  return server
}

async function serve(t: TestContext, hooks: SessionHooks, server = createTlsServer()) {
  const logger = new RecordingLogger()
  const clock = new FakeClock()
  const binding = attachSessionCache(server, hooks, { context: CONTEXT, clock, logger })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    binding.detach()
    server.close()
  })
  return { binding, clock, logger, port: (server.address() as AddressInfo).port }
}

for (const version of VERSIONS) {
  const only = { minVersion: version, maxVersion: version }

  test(`${version}: a put that is never answered holds no handshake, and no byte is lost`, async (t) => {
    let puts = 0
    const put = () => {
      puts += 1
      return new Promise<never>(() => {})
    }
    const hooks = { get: () => undefined, put, remove: () => false }
    // The deadline never comes: the clock stands still.
    const { port, clock, binding } = await serve(t, hooks)
    const { received } = await handshake(port, { ...only, request: 'hi' })
    assert.equal(received, 'x')
    const made = version === 'TLSv1.3' ? 2 : 1
    assert.equal(puts, made)
    clock.advance(50)
    clock.advance(0)
    assert.equal(binding.stats.late, made)
  })

  test(`${version}: a session is on its way to the cache before the client has it`, async (t) => {
    const { hooks } = createLiveCache()
    const order: string[] = []
    const put: SessionHooks['put'] = (request) => {
      order.push('put')
      return hooks.put(request)
    }
    const server = createTlsServer()
    const { port } = await serve(t, { get: () => undefined, put, remove: () => false }, server)
    const [listener = () => {}] = server.listeners('newSession')
    server.removeAllListeners('newSession')
    server.on('newSession', (id: Buffer, session: Buffer, callback: () => void) => {
      const sent = () => {
        order.push('sent')
        callback()
      }
      Reflect.apply(listener, server, [id, session, sent])
    })
    await handshake(port, { ...only, request: 'hi' })
    assert.deepEqual(order.slice(0, 2), ['put', 'sent'])
  })
}

/** A cache that says how long each session has left, and notes the lifetimes that it is asked for. */
function createAskedCache(found: Partial<FoundSession>) {
  const { hooks } = createLiveCache()
  const lifetimesMs: (number | undefined)[] = []
  const asked: SessionHooks = {
    get: (...given) => {
      const session = hooks.get(...given)
      return session && { ...session, ttlMs: LEFT_MS, ...found }
    },
    put: (request) => {
      lifetimesMs.push(request.ttlMs)
      return hooks.put(request)
    },
    remove: () => false,
  }
  return { hooks: asked, lifetimesMs }
}

test('a resumed TLS 1.3 handshake makes a session that lives no longer than the old one', async (t) => {
  const { hooks, lifetimesMs } = createAskedCache({})
  const { port } = await serve(t, hooks)
  const options = { maxVersion: 'TLSv1.3', request: 'hi' } as const
  const { session } = await handshake(port, options)
  assert.deepEqual(lifetimesMs, [undefined, undefined])
  const resumed = await handshake(port, { ...options, session })
  assert.equal(resumed.isReused, true)
  assert.deepEqual(lifetimesMs, [undefined, undefined, LEFT_MS])
})

test('in a cache with `renew` it gets a full lifetime', async (t) => {
  const { hooks, lifetimesMs } = createAskedCache({ isRenewable: true })
  const { port } = await serve(t, hooks)
  const options = { maxVersion: 'TLSv1.3', request: 'hi' } as const
  const { session } = await handshake(port, options)
  assert.equal((await handshake(port, { ...options, session })).isReused, true)
  assert.deepEqual(lifetimesMs, [undefined, undefined, undefined])
})

/** Has an event of the server handled with another resource in the place of Node's TLS connection. */
function replaceHandle(
  server: Server,
  event: 'resumeSession' | 'newSession',
  createHandle: () => AsyncResource,
): void {
  const [listener = () => {}] = server.listeners(event)
  server.removeAllListeners(event)
  server.on(event, (...given: unknown[]) => {
    createHandle().runInAsyncScope(() => Reflect.apply(listener, server, given))
  })
}

/** A TLS connection that did not take the session it was given. */
class FullHandshake extends AsyncResource {
  isSessionReused(): boolean {
    return false
  }
}

test('a session that TLS did not take leaves the lifetimes of the full handshake whole', async (t) => {
  const { hooks, lifetimesMs } = createAskedCache({})
  const server = createTlsServer()
  const { port } = await serve(t, hooks, server)
  replaceHandle(server, 'newSession', () => new FullHandshake('test'))
  const options = { maxVersion: 'TLSv1.3', request: 'hi' } as const
  const { session } = await handshake(port, options)
  await handshake(port, { ...options, session })
  assert.deepEqual(lifetimesMs, [undefined, undefined, undefined])
})

test('without the handle of Node.js sessions still resume, and it says once what does not', async (t) => {
  const { hooks, lifetimesMs } = createAskedCache({})
  const server = createTlsServer()
  const { port, binding, logger } = await serve(t, hooks, server)
  // A release of Node.js that keeps nothing there.
  replaceHandle(server, 'resumeSession', () => new AsyncResource('test'))
  replaceHandle(server, 'newSession', () => new AsyncResource('test'))
  const options = { maxVersion: 'TLSv1.3', request: 'hi' } as const
  const { session } = await handshake(port, options)
  for (let time = 0; time < 2; time += 1) {
    assert.equal((await handshake(port, { ...options, session })).isReused, true)
  }
  assert.deepEqual(lifetimesMs, [undefined, undefined, LEFT_MS, LEFT_MS])
  assert.equal(logger.lines.length, 1)
  assert.match(binding.stats.diagnosis, /does not let a session be given to TLS twice/)
})

test('the sentence about a cache names the first cause why nothing resumes', async (t) => {
  const diagnose = async (hooks: Partial<SessionHooks>, offers: boolean) => {
    const { hooks: working } = createLiveCache()
    const { session } = await handshake((await serve(t, working)).port)
    const all = { get: () => undefined, put: () => 'stored' as const, remove: () => false }
    const { port, binding } = await serve(t, { ...all, ...hooks })
    await handshake(port, offers ? { session } : {})
    await until('the server has counted', () => binding.stats.handshakes === 1)
    return binding.stats.diagnosis
  }
  assert.match(await diagnose({}, false), /no client offered a session/)
  assert.match(await diagnose({}, true), /offered 1 sessions and the cache held none/)
  assert.match(
    await diagnose({ put: () => 'blocksize' }, true),
    /refused every session: blocksize 1/,
  )
  const fail = () => Promise.reject(new Error('away'))
  assert.match(await diagnose({ put: fail, get: fail }, true), /2 calls failed, 0 were late/)
})
