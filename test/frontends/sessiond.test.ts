// The sessiond frontend: stunnel's datagrams, each case once, and the frontend on a real socket.

import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { type TestContext, test } from 'node:test'
import {
  parseRequest,
  type RemovePolicy,
  SessiondFrontend,
} from '../../src/frontends/sessiond/frontend.ts'
import { createCacheFixture } from '../support/cache-fixture.ts'
import { until } from '../support/latch.ts'
import { encodeSession } from '../support/session-encoder.ts'

const NEW = 0
const GET = 1
const REMOVE = 2

const id = Buffer.alloc(32, 7)
const www = Buffer.from('www')

function request(type: number, lifetimeSec = 0, session: Uint8Array = Buffer.alloc(0)): Buffer {
  const head = Buffer.from([1, type, lifetimeSec >> 8, lifetimeSec & 0xff])
  return Buffer.concat([head, id, session])
}

test('a real request is taken apart', () => {
  // A request that stunnel 5.68 sent, with the session cut short.
  const datagram = Buffer.from(`0100012c${'3d'.repeat(32)}307e0201010202`, 'hex')
  assert.deepEqual(parseRequest(datagram), {
    kind: 'new',
    lifetimeSec: 300,
    id: Buffer.alloc(32, 0x3d),
    session: Buffer.from('307e0201010202', 'hex'),
  })
})

const MALFORMED: readonly [name: string, datagram: Buffer][] = [
  ['nothing', Buffer.alloc(0)],
  ['cut off', request(GET).subarray(0, 35)],
  ['another version', Buffer.concat([Buffer.from([2]), request(GET).subarray(1)])],
  ['another type', request(3)],
  ['an answer', request(0x81, 0, Buffer.alloc(9))],
  ['a new without a session', request(NEW, 300)],
  ['a get with a session', request(GET, 0, Buffer.from('x'))],
  ['a remove with a session', request(REMOVE, 0, Buffer.from('x'))],
  ['more than stunnel can send', request(NEW, 300, Buffer.alloc(513, 0x30))],
]

for (const [name, datagram] of MALFORMED) {
  test(`${name} is malformed`, () => assert.equal(parseRequest(datagram), undefined))
}

async function setup(t: TestContext, removePolicy: RemovePolicy = 'honour', host = '127.0.0.1') {
  const cache = createCacheFixture()
  const frontend = new SessiondFrontend({
    ...cache,
    address: { host, port: 0 },
    removePolicy,
  })
  await frontend.start()
  const socket = createSocket('udp4')
  t.after(async () => {
    socket.close()
    await frontend.stop()
  })
  const send = (datagram: Buffer) => socket.send(datagram, frontend.address.port, '127.0.0.1')
  const ask = async (datagram: Buffer): Promise<Buffer> => {
    const answered = once(socket, 'message')
    send(datagram)
    const [answer] = await answered
    return answer
  }
  const encode = (fields = {}) =>
    encodeSession({
      id,
      context: www,
      timeSec: cache.clock.wallMs() / 1000,
      timeoutSec: 300,
      ...fields,
    })
  return { ...cache, frontend, send, ask, encode }
}

const FOUND = Buffer.concat([Buffer.from([1, 0x81, 0, 0]), id])
const NOT_FOUND = Buffer.concat([Buffer.from([1, 0x80, 0, 0]), id])

test('new, get and remove', async (t) => {
  const { ask, send, encode, hooks, frontend } = await setup(t)
  const session = encode()
  assert.deepEqual(await ask(request(GET)), NOT_FOUND)
  send(request(NEW, 100, session))
  assert.deepEqual(await ask(request(GET)), Buffer.concat([FOUND, session]))
  assert.deepEqual(hooks.get(www, id), { session, ttlMs: 100_000 })
  send(request(REMOVE))
  assert.deepEqual(await ask(request(GET)), NOT_FOUND)
  const { gets, hits, news, refused, removes } = frontend.stats
  assert.deepEqual(
    { gets, hits, news, refused, removes },
    { gets: 3, hits: 1, news: 1, refused: 0, removes: 1 },
  )
})

test('a lifetime that is over is a miss', async (t) => {
  const { ask, send, encode, clock } = await setup(t)
  send(request(NEW, 100, encode()))
  assert.equal((await ask(request(GET)))[1], 0x81)
  clock.advance(100_000)
  assert.deepEqual(await ask(request(GET)), NOT_FOUND)
})

test('a remove may be ignored', async (t) => {
  const { ask, send, encode, frontend } = await setup(t, 'ignore')
  send(request(NEW, 100, encode()))
  send(request(REMOVE))
  assert.equal((await ask(request(GET)))[1], 0x81)
  assert.equal(frontend.stats.ignoredRemoves, 1)
})

test('bytes that are no session with this ID are not stored', async (t) => {
  const { ask, send, encode, frontend, store } = await setup(t)
  send(request(NEW, 100, Buffer.from('something else')))
  send(request(NEW, 100, encode({ id: Buffer.alloc(32, 8) })))
  send(request(NEW, 0, encode()))
  assert.deepEqual(await ask(request(GET)), NOT_FOUND)
  assert.equal(frontend.stats.refused, 3)
  const { context, key_mismatch: otherId, expired } = store.stats.puts
  assert.deepEqual([context, otherId, expired], [1, 1, 1])
})

test('a session of another frontend is given back as long as stunnel can take it', async (t) => {
  const { ask, hooks, frontend } = await setup(t)
  const fits = Buffer.alloc(512, 'x')
  hooks.put({ context: www, id, session: fits })
  assert.deepEqual(await ask(request(GET)), Buffer.concat([FOUND, fits]))
  hooks.put({ context: www, id, session: Buffer.alloc(513, 'x') })
  assert.deepEqual(await ask(request(GET)), NOT_FOUND)
  assert.equal(frontend.stats.tooLarge, 1)
})

test('garbage is counted and never answered', async (t) => {
  const { ask, send, frontend } = await setup(t)
  for (const [, datagram] of MALFORMED) send(datagram)
  // The first answer is the one to the request.
  assert.deepEqual(await ask(request(GET)), NOT_FOUND)
  assert.equal(frontend.stats.malformed, MALFORMED.length)
})

test('a name is resolved once, and start and stop may be called twice', async (t) => {
  const { ask, frontend } = await setup(t, 'honour', 'localhost')
  assert.deepEqual(await ask(request(GET)), NOT_FOUND)
  await frontend.start()
  await frontend.stop()
  await frontend.stop()
})

test('an address in use is one error that names the setting', async (t) => {
  const { frontend, hooks, clock, logger } = await setup(t)
  const { address } = frontend
  const second = new SessiondFrontend({ address, hooks, clock, logger, removePolicy: 'honour' })
  await assert.rejects(second.start(), {
    code: 'ERR_LISTEN',
    message: /^frontends\.sessiond: cannot listen on 127\.0\.0\.1:\d+: address already in use$/,
  })
  await second.stop()
})

test('an answer that cannot be sent is counted and logged', async (t) => {
  const { frontend, logger } = await setup(t)
  frontend.receive(request(GET), 0, '127.0.0.1')
  await until('the error is counted', () => frontend.stats.sendErrors === 1)
  assert.equal(logger.lines.length, 1)
})
