// The memcached frontend over real sockets: pipelining, back pressure, timeouts, limits, start and stop.

import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import {
  MemcachedFrontend,
  type MemcachedFrontendOptions,
} from '../../src/frontends/memcached/frontend.ts'
import type { CacheLimits } from '../../src/store/limits.ts'
import { type CacheFixture, createCacheFixture } from '../support/cache-fixture.ts'
import { until } from '../support/latch.ts'
import { binaryRequest } from '../support/memcached-frames.ts'
import { SERVER_PROCESS } from '../support/memcached-peer.ts'
import { StreamClient } from '../support/stream-client.ts'

const ANY_PORT = { host: '127.0.0.1', port: 0 }
const LARGE = 'x'.repeat(60_000)

interface Setup extends CacheFixture {
  readonly frontend: MemcachedFrontend
  readonly connect: () => Promise<StreamClient>
}

async function setup(
  t: TestContext,
  options: Partial<MemcachedFrontendOptions> = {},
  limits: Partial<CacheLimits> = {},
): Promise<Setup> {
  const cache = createCacheFixture({ blocksize: 65_536, ...limits })
  const { hooks, clock, logger } = cache
  const frontend = new MemcachedFrontend({
    address: ANY_PORT,
    hooks,
    clock,
    logger,
    process: SERVER_PROCESS,
    ...options,
  })
  await frontend.start()
  const clients: StreamClient[] = []
  t.after(async () => {
    for (const client of clients) client.close()
    await frontend.stop()
  })
  const connect = async () => {
    const client = await StreamClient.connect(frontend.address)
    clients.push(client)
    return client
  }
  return { ...cache, frontend, connect }
}

test('text and binary on one port, told apart by the first byte', async (t) => {
  const { connect, frontend } = await setup(t)
  const text = await connect()
  const binary = await connect()
  text.send('set a 0 0 2\r\nhi\r\n')
  assert.equal(await text.until('\r\n'), 'STORED\r\n')
  binary.send(binaryRequest(0x00, { key: 'a' }).toString('latin1'))
  assert.match(await binary.until('hi'), /^\x81/)
  assert.equal(frontend.stats.connections, 2)
  text.send('quit\r\n')
  await text.closed
  await until('the connection is counted out', () => frontend.stats.connections === 1)
})

test('commands sent together are answered together, in order', async (t) => {
  const { connect } = await setup(t)
  const client = await connect()
  const count = 5000
  const sets = Array.from(
    { length: count },
    (_v, index) => `set k${index % 50} 0 0 4\r\n${1000 + index}\r\n`,
  )
  client.send(`${sets.join('')}get k0 k49\r\n`)
  const answers = await client.until('END\r\n')
  assert.equal(
    answers,
    `${'STORED\r\n'.repeat(count)}VALUE k0 0 4\r\n5950\r\nVALUE k49 0 4\r\n5999\r\nEND\r\n`,
  )
})

test('a client that sends commands and ends its side gets every answer, however many there are', async (t) => {
  const { connect, frontend } = await setup(t)
  const client = await connect()
  const count = 200
  client.send(`set a 0 0 ${LARGE.length}\r\n${LARGE}\r\n`)
  client.socket.end('get a\r\n'.repeat(count), 'latin1')
  await client.closed
  assert.equal(client.received.split(LARGE).length - 1, count)
  assert.ok(client.received.endsWith('END\r\n'))
  await until('the connection is counted out', () => frontend.stats.connections === 0)
})

test('a Unix socket is the owner’s alone, and gone after the stop', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'tlscached-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const path = join(directory, 'memcached.sock')
  const { connect, frontend } = await setup(t, { address: { path } })
  assert.equal(statSync(path).mode & 0o777, 0o600)
  const client = await connect()
  client.send('version\r\n')
  assert.match(await client.until('\r\n'), /^VERSION /)
  await frontend.stop()
  await client.closed
  assert.equal(existsSync(path), false)
})

test('nothing is read from a client that does not read; it gets all answers in the end', async (t) => {
  const { connect, frontend } = await setup(t)
  const client = await connect()
  client.send(`set a 0 0 ${LARGE.length}\r\n${LARGE}\r\n`)
  await client.until('STORED\r\n')
  client.socket.pause()
  const gets = 1000
  // 60 MB of answers to 5 kB of questions, half of them to a single line.
  client.send(`${'get a\r\n'.repeat(gets / 2)}get${' a'.repeat(gets / 2)}\r\nmn\r\n`)
  await until('answers are held back', () => frontend.stats.gets > 0)
  let seen = -1
  await until('no more gets are carried out', () => {
    const isStill = frontend.stats.gets === seen
    seen = frontend.stats.gets
    return isStill
  })
  assert.ok(frontend.stats.gets < gets / 2, `${frontend.stats.gets} gets for nobody`)
  const other = await connect()
  other.send('get b\r\n')
  assert.equal(await other.until('END\r\n'), 'END\r\n')
  client.socket.resume()
  await until('all is answered', () => frontend.stats.gets === gets + 1)
  await until('the end is there', () => client.received.endsWith('END\r\nMN\r\n'))
  // All but the answer to the other one.
  assert.equal(client.socket.bytesRead, frontend.stats.bytesWritten - 5)
})

test('a client that never reads is closed after the stall timeout', async (t) => {
  const { connect, frontend, clock } = await setup(t)
  const client = await connect()
  client.send(`set a 0 0 ${LARGE.length}\r\n${LARGE}\r\n`)
  await client.until('STORED\r\n')
  client.socket.pause()
  client.send(`get${' a'.repeat(1000)}\r\n`)
  let gets = 0
  await until('answers are held back', () => {
    const isStill = gets > 0 && frontend.stats.gets === gets
    gets = frontend.stats.gets
    return isStill
  })
  clock.advance(40_000)
  await until('it is closed', () => frontend.stats.connections === 0)
  assert.equal(frontend.stats.timedOutConnections, 1)
})

test('half a command is waited for, but not for ever', async (t) => {
  const { connect, frontend, clock } = await setup(t)
  const slow = await connect()
  const idle = await connect()
  idle.send('mn\r\n')
  await idle.until('MN\r\n')
  slow.send('set a 0 0 10\r\n1')
  await until('the half is there', () => frontend.stats.bytesRead === 19)
  clock.advance(20_000)
  // A byte now and then does not help.
  slow.send('2')
  await until('the byte is there', () => frontend.stats.bytesRead === 20)
  clock.advance(20_000)
  await slow.closed
  assert.equal(frontend.stats.timedOutConnections, 1)
  // Silence between commands is something else: Apache's pools are silent for hours.
  clock.advance(11 * 3_600_000)
  idle.send('mn\r\n')
  await idle.until('MN\r\n')
  clock.advance(24 * 3_600_000)
  await idle.closed
  assert.equal(frontend.stats.timedOutConnections, 2)
})

test('more connections than allowed are turned away, and counted', async (t) => {
  const { connect, frontend } = await setup(t, { maxConnections: 1 })
  const first = await connect()
  first.send('mn\r\n')
  await first.until('MN\r\n')
  const second = await connect()
  await second.closed
  assert.equal(frontend.stats.rejectedConnections, 1)
  first.send('mn\r\n')
  await first.until('MN\r\n')
})

test('a malformed line that cannot be skipped ends the connection after its answer', async (t) => {
  const { connect } = await setup(t)
  const client = await connect()
  client.send(`mn\r\n${'x'.repeat(5000)}`)
  await client.closed
  assert.equal(client.received, 'MN\r\nCLIENT_ERROR line too long\r\n')
})

test('a client that ends its half is answered all the same', async (t) => {
  const { connect } = await setup(t)
  const client = await connect()
  client.socket.end('set a 0 0 1\r\n1\r\nget a\r\n')
  await client.closed
  assert.equal(client.received, 'STORED\r\nVALUE a 0 1\r\n1\r\nEND\r\n')
})

test('a large cache is flushed in slices; whoever asked waits, others do not', async (t) => {
  const { connect, frontend, store, clock } = await setup(t, {}, { items: 5000, blocksize: 64 })
  const client = await connect()
  const other = await connect()
  client.send(
    Array.from({ length: 3000 }, (_v, index) => `set k${index} 0 0 1 noreply\r\n1\r\n`).join(''),
  )
  client.send('mn\r\n')
  await client.until('MN\r\n')
  assert.equal(store.stats.items, 3000)
  // Removals that take their time: 64 of them in every millisecond.
  let removals = 0
  store.onChange = () => {
    removals += 1
    if (removals % 64 === 0) clock.advance(1)
  }
  client.send('flush_all\r\nget k2999\r\n')
  await until('the first slice is done', () => store.stats.items < 3000)
  assert.ok(store.stats.items > 0)
  other.send('mn\r\n')
  await other.until('MN\r\n')
  assert.equal(client.received, '')
  while (store.stats.items > 0) clock.advance(10)
  assert.equal(await client.until('END\r\n'), 'OK\r\nEND\r\n')
  assert.equal(store.stats.items, 0)
  assert.equal(frontend.stats.flushes, 1)
})

test('an address in use is one error that names the setting', async (t) => {
  const { frontend, hooks, clock, logger } = await setup(t)
  const second = new MemcachedFrontend({
    address: frontend.address,
    hooks,
    clock,
    logger,
    process: SERVER_PROCESS,
  })
  await assert.rejects(second.start(), {
    code: 'ERR_LISTEN',
    message: /^frontends\.memcached: cannot listen on 127\.0\.0\.1:\d+: address already in use$/,
  })
  await second.stop()
})

test('start and stop may be called twice, and leave nothing behind', async (t) => {
  const { frontend, clock, connect } = await setup(t)
  await frontend.start()
  const client = await connect()
  client.send('flush_all 100\r\n')
  await client.until('OK\r\n')
  await frontend.stop()
  await frontend.stop()
  await client.closed
  assert.equal(frontend.stats.connections, 0)
  assert.equal(clock.pendingCount, 0)
})

test('a Node that reads into no memory of ours is served through the stream, and the log says so once', async (t) => {
  const { connect, frontend, logger } = await setup(t)
  const fast = await connect()
  fast.send('set a 0 0 2\r\nhi\r\n')
  assert.equal(await fast.until('\r\n'), 'STORED\r\n')
  assert.deepEqual(logger.lines, [])
  removeUserBuffer(t, fast.socket)
  for (let count = 0; count < 3; count += 1) {
    const slow = await connect()
    slow.send('get a\r\n')
    assert.equal(await slow.until('END\r\n'), 'VALUE a 0 2\r\nhi\r\nEND\r\n')
  }
  assert.equal(frontend.stats.connections, 4)
  assert.deepEqual(
    logger.lines.map(({ level, fields }) => [level, fields]),
    [['warn', { frontend: 'memcached', nodeVersion: process.version }]],
  )
})

/** Takes from all sockets, until the test ends, what the fast way of reading stands on. */
function removeUserBuffer(t: TestContext, socket: object): void {
  let owner: object = Reflect.get(socket, '_handle')
  while (!Object.hasOwn(owner, 'useUserBuffer')) owner = Object.getPrototypeOf(owner)
  const property = Object.getOwnPropertyDescriptor(owner, 'useUserBuffer')
  assert.ok(property !== undefined && Reflect.deleteProperty(owner, 'useUserBuffer'))
  t.after(() => Object.defineProperty(owner, 'useUserBuffer', property))
}
