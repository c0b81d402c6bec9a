// The rpc frontend over real sockets: calls, mistakes, pipelining, back pressure, timeouts, limits.

import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type LevelledLogger, LOG_LEVELS, type LogLevel } from '../../src/base/world.ts'
import { RpcFrontend, type RpcFrontendOptions } from '../../src/frontends/rpc/frontend.ts'
import { encodeHooksRequest, type HooksCall } from '../../src/wire/hooks-message.ts'
import { type CacheFixture, createCacheFixture } from '../support/cache-fixture.ts'
import { until } from '../support/latch.ts'
import { RpcClient } from '../support/rpc-client.ts'

const ANY_PORT = { host: '127.0.0.1', port: 0 }
const LARGE = Buffer.alloc(60_000, 'x')
const shop = { cache: 'ssl', context: Buffer.from('shop'), id: Buffer.alloc(32, 7) }
const GET: HooksCall = { kind: 'get', ...shop, serverName: undefined }
const REMOVE: HooksCall = { kind: 'remove', ...shop }
const PING: HooksCall = { kind: 'ping' }

function put(session: Buffer, ttlMs?: number, serverName?: string): HooksCall {
  return { kind: 'put', ...shop, session, ttlMs, serverName }
}

interface Setup extends CacheFixture {
  readonly frontend: RpcFrontend
  readonly connect: () => Promise<RpcClient>
}

async function setup(t: TestContext, options: Partial<RpcFrontendOptions> = {}): Promise<Setup> {
  const cache = createCacheFixture({ blocksize: 65_536 })
  const { hooks, clock, logger } = cache
  const caches = new Map([['ssl', hooks]])
  const frontend = new RpcFrontend({ address: ANY_PORT, caches, clock, logger, ...options })
  await frontend.start()
  const clients: RpcClient[] = []
  t.after(async () => {
    for (const client of clients) client.close()
    await frontend.stop()
  })
  const connect = async () => {
    const client = await RpcClient.connect(frontend.address)
    clients.push(client)
    return client
  }
  return { ...cache, frontend, connect }
}

test('put, get, remove and ping', async (t) => {
  const { connect, frontend, clock } = await setup(t)
  const client = await connect()
  const session = Buffer.from('a session')
  assert.deepEqual(await client.ask(1, PING), { kind: 'pong' })
  assert.deepEqual(await client.ask(2, GET), { kind: 'miss' })
  assert.deepEqual(await client.ask(3, put(session, 1000)), { kind: 'stored', result: 'stored' })
  clock.advance(200.5)
  assert.deepEqual(await client.ask(4, GET), { kind: 'found', session, ttlMs: 799 })
  assert.deepEqual(await client.ask(5, put(session, 0)), { kind: 'stored', result: 'expired' })
  assert.deepEqual(await client.ask(6, REMOVE), { kind: 'removed', wasThere: true })
  assert.deepEqual(await client.ask(7, REMOVE), { kind: 'removed', wasThere: false })
  const { gets, getHits, puts, refused, removes, removeHits, pings } = frontend.stats
  assert.deepEqual(
    { gets, getHits, puts, refused, removes, removeHits, pings },
    { gets: 2, getHits: 1, puts: 2, refused: 1, removes: 2, removeHits: 1, pings: 1 },
  )
})

test('a get under another context or server name is a miss', async (t) => {
  const { connect, store } = await setup(t)
  const client = await connect()
  await client.ask(1, put(Buffer.from('x'), undefined, 'www.test'))
  const bank = { ...GET, context: Buffer.from('bank') }
  assert.deepEqual(await client.ask(2, bank), { kind: 'miss' })
  assert.deepEqual(await client.ask(3, { ...GET, serverName: 'mail.test' }), { kind: 'miss' })
  assert.deepEqual(await client.ask(4, { ...GET, serverName: '' }), { kind: 'miss' })
  assert.equal(store.stats.gets.context_mismatch, 3)
  for (const serverName of ['www.test', undefined]) {
    assert.equal((await client.ask(5, { ...GET, serverName })).kind, 'found')
  }
})

test('a cache that is not there, and a call of a later version, are errors; the connection goes on', async (t) => {
  const { connect, frontend } = await setup(t)
  const client = await connect()
  const error = (code: string) => ({ kind: 'error', code })
  assert.deepEqual(await client.ask(1, { ...GET, cache: 'tls' }), error('no_such_cache'))
  client.send(Buffer.from('0000000408097a00', 'hex'))
  await until('it is answered', () => client.responses.length === 2)
  assert.deepEqual(client.responses[1], { number: 9, result: error('unknown_call') })
  assert.deepEqual(await client.ask(3, GET), { kind: 'miss' })
  assert.equal(frontend.stats.unknownCaches, 1)
  assert.equal(frontend.stats.unknownCalls, 1)
})

test('hooks that throw are an internal error, and a line in the log without the session', async (t) => {
  const { connect, frontend, store, logger } = await setup(t)
  store.onChange = () => {
    throw new Error('broken')
  }
  const client = await connect()
  const result = await client.ask(1, put(Buffer.from('secret')))
  assert.deepEqual(result, { kind: 'error', code: 'internal' })
  assert.equal(frontend.stats.failed, 1)
  assert.deepEqual(
    logger.lines.map(({ level, fields, message }) => [level, fields, message]),
    [['error', { reason: 'broken', heldBack: 0 }, 'rpc: a call failed']],
  )
})

const MISTAKES = [
  ['malformedLength', 'an empty frame', '00000000'],
  ['malformedLength', 'a frame that is too long', '00010401'],
  ['malformedLength', 'HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n').toString('hex')],
  ['malformedRequest', 'a frame that is no request', '00000002ffff'],
  ['malformedRequest', 'a request without a number', '000000022a00'],
] as const
for (const [reason, name, bytes] of MISTAKES) {
  test(`${name} is counted as ${reason}; what came before is answered, then the connection ends`, async (t) => {
    const { connect, frontend } = await setup(t)
    const client = await connect()
    const behind = encodeHooksRequest(2, PING)
    client.send(encodeHooksRequest(1, PING), Buffer.from(bytes, 'hex'), behind)
    await client.closed
    assert.deepEqual(client.responses, [{ number: 1, result: { kind: 'pong' } }])
    const { malformedLength, malformedRequest } = frontend.stats
    assert.equal(frontend.stats[reason], 1)
    assert.equal(malformedLength + malformedRequest, 1)
    assert.equal(frontend.stats.pings, 1)
  })
}

test('requests sent together are answered together, in order', async (t) => {
  const { connect } = await setup(t)
  const client = await connect()
  const count = 5000
  const frames = Array.from({ length: count }, (_v, index) => encodeHooksRequest(index + 1, GET))
  client.send(...frames)
  await until('all is answered', () => client.responses.length === count)
  assert.ok(client.responses.every(({ number }, index) => number === index + 1))
})

test('a request that comes byte by byte', async (t) => {
  const { connect } = await setup(t)
  const client = await connect()
  client.socket.setNoDelay()
  for (const byte of encodeHooksRequest(1, put(Buffer.from('x')))) {
    await new Promise<void>((resolve) => client.socket.write(Buffer.from([byte]), () => resolve()))
  }
  await until('it is answered', () => client.responses.length === 1)
  assert.deepEqual(client.responses[0]?.result, { kind: 'stored', result: 'stored' })
})

test('a Unix socket is the owner’s alone, and gone after the stop', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'tlscached-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const path = join(directory, 'rpc.sock')
  const { connect, frontend } = await setup(t, { address: { path } })
  assert.equal(statSync(path).mode & 0o777, 0o600)
  const client = await connect()
  assert.deepEqual(await client.ask(1, PING), { kind: 'pong' })
  await frontend.stop()
  await client.closed
  assert.equal(existsSync(path), false)
})

test('nothing is read from a client that does not read; it gets all answers in the end', async (t) => {
  const { connect, frontend } = await setup(t)
  const client = await connect()
  await client.ask(1, put(LARGE))
  client.socket.pause()
  const gets = 1000
  // 60 MB of answers.
  client.send(...Array.from({ length: gets }, (_v, index) => encodeHooksRequest(index + 2, GET)))
  await until('answers are held back', () => frontend.stats.gets > 0)
  let seen = -1
  await until('no more gets are carried out', () => {
    const isStill = frontend.stats.gets === seen
    seen = frontend.stats.gets
    return isStill
  })
  assert.ok(frontend.stats.gets < gets / 2, `${frontend.stats.gets} gets for nobody`)
  const other = await connect()
  assert.deepEqual(await other.ask(1, PING), { kind: 'pong' })
  client.socket.resume()
  await until('all is answered', () => client.responses.length === gets + 1)
})

test('a client that never reads is closed after the stall timeout', async (t) => {
  const { connect, frontend, clock } = await setup(t)
  const client = await connect()
  await client.ask(1, put(LARGE))
  client.socket.pause()
  client.send(...Array.from({ length: 1000 }, (_v, index) => encodeHooksRequest(index + 2, GET)))
  let gets = 0
  await until('answers are held back', () => {
    const isStill = gets > 0 && frontend.stats.gets === gets
    gets = frontend.stats.gets
    return isStill
  })
  clock.advance(13_000)
  await until('it is closed', () => frontend.stats.connections === 0)
  assert.equal(frontend.stats.timedOutConnections, 1)
})

test('half a request is waited for, but not for ever; silence between requests longer', async (t) => {
  const { connect, frontend, clock } = await setup(t)
  const slow = await connect()
  const idle = await connect()
  await idle.ask(1, PING)
  const { bytesRead } = frontend.stats
  slow.send(Buffer.from([0]))
  await until('the half is there', () => frontend.stats.bytesRead === bytesRead + 1)
  clock.advance(6000)
  // A byte now and then does not help.
  slow.send(Buffer.from([0]))
  await until('the byte is there', () => frontend.stats.bytesRead === bytesRead + 2)
  clock.advance(7000)
  await slow.closed
  assert.equal(frontend.stats.timedOutConnections, 1)
  assert.deepEqual(await idle.ask(2, PING), { kind: 'pong' })
  clock.advance(70_000)
  await idle.closed
  assert.equal(frontend.stats.timedOutConnections, 2)
})

test('more connections than allowed are turned away, and counted', async (t) => {
  const { connect, frontend } = await setup(t, { maxConnections: 1 })
  const first = await connect()
  await first.ask(1, PING)
  const second = await connect()
  await second.closed
  assert.equal(frontend.stats.rejectedConnections, 1)
  assert.deepEqual(await first.ask(2, PING), { kind: 'pong' })
})

test('an address in use is one error that names the setting', async (t) => {
  const { frontend, hooks, clock, logger } = await setup(t)
  const caches = new Map([['ssl', hooks]])
  const second = new RpcFrontend({ address: frontend.address, caches, clock, logger })
  await assert.rejects(second.start(), {
    code: 'ERR_LISTEN',
    message: /^frontends\.rpc: cannot listen on 127\.0\.0\.1:\d+: address already in use$/,
  })
  await second.stop()
})

/** A log that keeps what its level lets through. */
function levelled(level: LogLevel) {
  const lines: string[] = []
  const note = (one: LogLevel) => (_fields: unknown, message: string) => {
    if (LOG_LEVELS.indexOf(one) >= LOG_LEVELS.indexOf(log.level)) lines.push(message)
  }
  const log: LevelledLogger = {
    ...{ level, debug: note('debug'), info: note('info') },
    ...{ warn: note('warn'), error: note('error') },
  }
  return { log, lines }
}

test('the log level is shown and changed over a unix socket, and the log says so once', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-rpc-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const { log, lines } = levelled('info')
  const { connect, frontend } = await setup(t, { address: { path: join(folder, 'rpc') }, log })
  const client = await connect()
  const ask = (number: number, level?: LogLevel) => client.ask(number, { kind: 'logLevel', level })
  assert.deepEqual(await ask(1), { kind: 'logLevel', level: 'info' })
  assert.deepEqual(await ask(2, 'info'), { kind: 'logLevel', level: 'info' })
  assert.deepEqual(lines, [])
  assert.deepEqual(await ask(3, 'silent'), { kind: 'logLevel', level: 'silent' })
  assert.deepEqual(lines, ['rpc: the log level was changed'])
  assert.deepEqual(await ask(4, 'debug'), { kind: 'logLevel', level: 'debug' })
  assert.equal(lines.length, 2)
  assert.equal(log.level, 'debug')
  assert.equal(frontend.stats.logLevels, 4)
})

test('the log level is not changed over TCP, nor where there is no log to change', async (t) => {
  const { log } = levelled('info')
  const overTcp = await setup(t, { log })
  const call: HooksCall = { kind: 'logLevel', level: 'debug' }
  const forbidden = { kind: 'error', code: 'forbidden' }
  const client = await overTcp.connect()
  assert.deepEqual(await client.ask(1, call), forbidden)
  assert.equal(log.level, 'info')
  assert.equal(overTcp.frontend.stats.forbidden, 1)
  assert.deepEqual(await client.ask(2, PING), { kind: 'pong' })
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-rpc-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const without = await setup(t, { address: { path: join(folder, 'rpc') } })
  assert.deepEqual(await (await without.connect()).ask(1, call), forbidden)
})

test('start and stop may be called twice, and leave nothing behind', async (t) => {
  const { frontend, clock, connect } = await setup(t)
  await frontend.start()
  const client = await connect()
  await client.ask(1, PING)
  await frontend.stop()
  await frontend.stop()
  await client.closed
  assert.equal(frontend.stats.connections, 0)
  assert.equal(clock.pendingCount, 0)
})
