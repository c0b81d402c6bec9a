// Backends in turn, passed over while they do not answer, and found again.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type Address, formatAddress } from '../../src/base/address.ts'
import { BackendPool, type BackendPoolOptions } from '../../src/terminator/relay.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { freePorts } from '../support/free-ports.ts'
import { until } from '../support/latch.ts'
import { RecordingLogger } from '../support/recording-logger.ts'

const CONNECT_TIMEOUT_MS = 2000
const CHECK_PERIOD_MS = 3000

/** A connection that never comes about. */
const neverConnect = () => new Socket()

function setUp(
  t: TestContext,
  addresses: readonly Address[],
  options: Partial<BackendPoolOptions> = {},
) {
  const clock = new FakeClock()
  const logger = new RecordingLogger()
  const pool = new BackendPool({
    addresses,
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
    checkPeriodMs: CHECK_PERIOD_MS,
    clock,
    logger,
    ...options,
  })
  t.after(() => pool.stop())
  return { pool, clock, logger }
}

async function listen(t: TestContext, address: Address): Promise<Server> {
  const server = createServer((socket) => socket.on('error', () => socket.destroy()))
  server.listen(address)
  await once(server, 'listening')
  t.after(() => server.close())
  return server
}

const addressOf = (port: number): Address => ({ host: '127.0.0.1', port })

/** Where the next connection goes; 'none' when nobody answers. */
function next(pool: BackendPool): Promise<string> {
  return new Promise((resolve) => {
    pool.connect((socket: Socket | undefined) => {
      resolve(socket === undefined ? 'none' : `${socket.remoteAddress}:${socket.remotePort}`)
      socket?.destroy()
    })
  })
}

async function nextOnes(pool: BackendPool, count: number): Promise<string[]> {
  const found: string[] = []
  for (let index = 0; index < count; index += 1) found.push(await next(pool))
  return found
}

test('each backend in turn, one that is named twice once', async (t) => {
  const [a, b] = (await freePorts(2)).map(addressOf) as [Address, Address]
  await Promise.all([listen(t, a), listen(t, b)])
  const { pool, clock } = setUp(t, [a, b, a])
  const [nameA, nameB] = [formatAddress(a), formatAddress(b)]
  assert.deepEqual(await nextOnes(pool, 4), [nameA, nameB, nameA, nameB])
  assert.equal(pool.stats[nameA]?.results.connected, 2)
  assert.equal(clock.pendingCount, 0)
})

test('a backend that refuses is passed over at once, and used again when a check reaches it', async (t) => {
  const [a, b] = (await freePorts(2)).map(addressOf) as [Address, Address]
  await listen(t, b)
  const { pool, clock, logger } = setUp(t, [a, b])
  const [nameA, nameB] = [formatAddress(a), formatAddress(b)]
  assert.deepEqual(await nextOnes(pool, 4), [nameB, nameB, nameB, nameB])
  assert.equal(pool.stats[nameA]?.results.refused, 1)
  assert.equal(pool.stats[nameA]?.isUp, false)
  assert.deepEqual(
    logger.lines.map(({ level, fields }) => [level, fields['backend'], fields['reason']]),
    [['warn', nameA, 'ECONNREFUSED']],
  )
  await listen(t, a)
  pool.start()
  await until('the look found it', () => pool.stats[nameA]?.isUp === true)
  assert.deepEqual((await nextOnes(pool, 2)).toSorted(), [nameA, nameB].toSorted())
  assert.equal(clock.pendingCount, 1)
})

test('a look finds out that one went away, and looks go on', async (t) => {
  const [a] = (await freePorts(1)).map(addressOf) as [Address]
  const first = await listen(t, a)
  const { pool, clock } = setUp(t, [a])
  const name = formatAddress(a)
  let looks = 0
  first.on('connection', () => {
    looks += 1
  })
  pool.start()
  pool.start()
  await until('there was a look', () => looks === 1 && clock.pendingCount === 1)
  await new Promise((resolve) => first.close(resolve))
  clock.advance(CHECK_PERIOD_MS)
  await until('it is known to be away', () => pool.stats[name]?.isUp === false)
  await listen(t, a)
  await until('the look is over', () => clock.pendingCount === 1)
  clock.advance(CHECK_PERIOD_MS)
  await until('it is known to be back', () => pool.stats[name]?.isUp === true)
  assert.deepEqual(pool.stats[name]?.results, { connected: 0, refused: 0, timeout: 0, failed: 0 })
})

test('when none is known to answer, all are tried, and then there is none', async (t) => {
  const [a, b] = (await freePorts(2)).map(addressOf) as [Address, Address]
  const { pool } = setUp(t, [a, b])
  assert.deepEqual(await nextOnes(pool, 2), ['none', 'none'])
  assert.equal(pool.stats[formatAddress(a)]?.results.refused, 2)
  assert.equal(pool.stats[formatAddress(b)]?.results.refused, 2)
  await listen(t, b)
  assert.equal(await next(pool), formatAddress(b))
})

test('a socket file that is not there is a refusal; one with a process behind it is a backend', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-backend-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const address = { path: join(folder, 'b.sock') }
  const { pool } = setUp(t, [address])
  assert.equal(await next(pool), 'none')
  assert.equal(pool.stats[formatAddress(address)]?.results.refused, 1)
  await listen(t, address)
  await next(pool)
  assert.equal(pool.stats[formatAddress(address)]?.results.connected, 1)
})

test('a backend that does not accept in time is a timeout', async (t) => {
  const { pool, clock } = setUp(t, [{ host: '192.0.2.1', port: 9 }], { connect: neverConnect })
  const found = next(pool)
  clock.advance(CONNECT_TIMEOUT_MS)
  assert.equal(await found, 'none')
  assert.equal(pool.stats['192.0.2.1:9']?.results.timeout, 1)
  assert.equal(clock.pendingCount, 0)
})

test('an attempt that is cancelled ends without a word', async (t) => {
  const [a] = (await freePorts(1)).map(addressOf) as [Address]
  await listen(t, a)
  const { pool, clock } = setUp(t, [a])
  const attempt = pool.connect(() => assert.fail('it was cancelled'))
  attempt.cancel()
  assert.equal(clock.pendingCount, 0)
  assert.equal(await next(pool), formatAddress(a))
})

test('stopping ends looks that go on', async (t) => {
  const { pool, clock } = setUp(t, [{ host: '192.0.2.1', port: 9 }], { connect: neverConnect })
  pool.start()
  assert.equal(clock.pendingCount, 2)
  pool.stop()
  pool.stop()
  assert.equal(clock.pendingCount, 0)
})
