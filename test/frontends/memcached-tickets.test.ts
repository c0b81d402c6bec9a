// The ticket keys that memcached serves beside the cache: out of the ring, by either protocol and on every way in, never
// a miss, never written, and gone from memory once they are sent.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { parse } from 'yaml'
import { ReplyBuffer } from '../../src/frontends/memcached/fast/reply-buffer.ts'
import { MemcachedFrontend } from '../../src/frontends/memcached/frontend.ts'
import { TicketKeys } from '../../src/frontends/memcached/ticket-keys.ts'
import { nghttpxValue } from '../../src/tickets/layouts/binary.ts'
import { TicketRing } from '../../src/tickets/ring.ts'
import { openedKeys } from '../../src/tickets/rule.ts'
import { ringTimes } from '../../src/tickets/times.ts'
import { createCacheFixture } from '../support/cache-fixture.ts'
import { binaryAnswers, binaryRequest } from '../support/memcached-frames.ts'
import { everyByte, MemcachedPeer, PeerMemory, SERVER_PROCESS } from '../support/memcached-peer.ts'
import { seededBytes } from '../support/seeded-random.ts'
import { StreamClient } from '../support/stream-client.ts'

const HOUR_MS = 3_600_000
const hourly = { rotateMs: HOUR_MS, waitMs: HOUR_MS, lifetimeMs: HOUR_MS }
const NGHTTPX = 'nghttpx:tls-ticket-key'
const H2O = 'h2o:ssl-session-key'

function setup() {
  const cache = createCacheFixture()
  const times = ringTimes({ name: 'www', ...hourly }, [])
  const random = seededBytes('memcached tickets')
  const ring = new TicketRing({ group: 'www', times, nodeId: Buffer.from('n'), random })
  const ticketKeys = new TicketKeys(ring, cache.clock)
  const peer = (protocol: 'text' | 'binary', memory = new PeerMemory()) =>
    new MemcachedPeer(cache, protocol, memory, ticketKeys)
  /** Makes the keys of some hours. */
  const passHours = (hours: number) => {
    for (let hour = 0; hour < hours; hour += 1) {
      cache.clock.advance(1.2 * HOUR_MS)
      ring.tick(cache.clock.monotonicMs(), true)
    }
  }
  const opened = () => openedKeys(ring.view(cache.clock.monotonicMs()))
  const wanted = () =>
    nghttpxValue(
      opened().map(({ key }) => key),
      80,
    )
  return { ...cache, ring, ticketKeys, peer, passHours, opened, wanted }
}

function textValue(key: string, value: Buffer, cas = ''): Buffer {
  const head = Buffer.from(`VALUE ${key} 0 ${value.length}${cas}\r\n`)
  return Buffer.concat([head, value, Buffer.from('\r\nEND\r\n')])
}

test('nghttpx gets all keys of the ring, the current one first, in text and in binary', () => {
  const { peer, passHours, opened, wanted } = setup()
  passHours(3)
  assert.equal(opened().length, 3)
  const get = Buffer.from(`get ${NGHTTPX}\r\n`)
  assert.deepEqual(peer('text').send(get), textValue(NGHTTPX, wanted()))
  const text = peer('text')
  assert.deepEqual(text.sendInPieces(get, everyByte(get)), textValue(NGHTTPX, wanted()))
  assert.deepEqual([text.stats.gets, text.stats.getHits], [1, 1])
  assert.deepEqual(
    peer('text').send(Buffer.from(`gets ${NGHTTPX}\r\n`)),
    textValue(NGHTTPX, wanted(), ' 1'),
  )
  const [answer] = binaryAnswers(peer('binary').send(binaryRequest(0x00, { key: NGHTTPX })))
  assert.deepEqual([answer?.status, answer?.extras, answer?.key], [0, Buffer.alloc(4), ''])
  assert.deepEqual(answer?.value, wanted())
  const [withKey] = binaryAnswers(peer('binary').send(binaryRequest(0x0c, { key: NGHTTPX })))
  assert.deepEqual([withKey?.key, withKey?.value], [NGHTTPX, wanted()])
})

test('h2o gets keys of which the newest is always young, so that it writes none of its own', () => {
  const { peer, passHours, opened, clock } = setup()
  for (const hours of [1, 1, 1]) {
    passHours(hours)
    const [answer] = binaryAnswers(peer('binary').send(binaryRequest(0x00, { key: H2O })))
    const keys = parse(answer?.value.toString() ?? '') as Record<string, string & number>[]
    assert.deepEqual(
      keys.map(({ name }) => name),
      opened().map(({ key }) => key.hexName),
    )
    const nowSec = clock.wallMs() / 1000
    const newestSec = Math.max(...keys.map(({ not_before: begin }) => begin ?? 0))
    // A quarter of the shortest lifetime that h2o may have, four seconds.
    assert.ok(newestSec >= nowSec - 2, `${newestSec} at ${nowSec}`)
    for (const { not_after: end } of keys) assert.ok((end ?? 0) > nowSec)
    const minted = keys
      .filter(({ not_before: begin }) => (begin ?? 0) <= nowSec)
      .sort((a, b) => (b['not_before'] ?? 0) - (a['not_before'] ?? 0))
    assert.equal(minted[0]?.['name'], opened()[0]?.key.hexName)
  }
})

for (const key of [NGHTTPX, H2O]) {
  test(`before there is a ring, a get of ${key} closes the connection: no miss`, () => {
    const { peer } = setup()
    const text = peer('text')
    assert.deepEqual(text.send(Buffer.from(`get ${key}\r\n`)), Buffer.alloc(0))
    assert.ok(text.isClosed)
    assert.deepEqual([text.stats.gets, text.stats.getHits], [1, 0])
    for (const opcode of [0x00, 0x09, 0x0c]) {
      const binary = peer('binary')
      assert.deepEqual(binary.send(binaryRequest(opcode, { key })), Buffer.alloc(0))
      assert.ok(binary.isClosed)
    }
  })

  test(`whoever writes ${key} is refused and cut off, and nothing is stored`, () => {
    const { peer, passHours, hooks } = setup()
    passHours(1)
    const lines = [
      `set ${key} 0 0 1\r\nx\r\n`,
      `set ${key} 0 0 1 noreply\r\nx\r\n`,
      `add ${key} 0 0 1\r\nx\r\n`,
      `cas ${key} 0 0 1 1\r\nx\r\n`,
      `append ${key} 0 0 1\r\nx\r\n`,
      `incr ${key} 1\r\n`,
      `touch ${key} 1\r\n`,
      `delete ${key}\r\n`,
      `ms ${key} 1\r\nx\r\n`,
      `md ${key}\r\n`,
      `mg ${key} v\r\n`,
    ]
    for (const line of lines) {
      const text = peer('text')
      assert.match(
        text.send(Buffer.from(line)).toString(),
        /^SERVER_ERROR .*nobody may write/,
        line,
      )
      assert.ok(text.isClosed, line)
      assert.equal(text.stats.refused, 1)
    }
    const extras = Buffer.alloc(8)
    const frames = [
      binaryRequest(0x01, { key, extras, value: 'x', cas: 1n }),
      binaryRequest(0x02, { key, extras, value: 'x' }),
      binaryRequest(0x11, { key, extras, value: 'x' }),
      binaryRequest(0x04, { key }),
      binaryRequest(0x0e, { key, value: 'x' }),
      binaryRequest(0x1c, { key, extras: Buffer.alloc(4) }),
    ]
    for (const frame of frames) {
      const binary = peer('binary')
      assert.equal(binaryAnswers(binary.send(frame))[0]?.status, 5)
      assert.ok(binary.isClosed)
    }
    assert.equal(hooks.peekAny(Buffer.from(key)), undefined)
  })
}

test('without a group these keys are like any other', () => {
  const peer = new MemcachedPeer(createCacheFixture(), 'text')
  const said = peer.send(
    Buffer.from(`get ${NGHTTPX}\r\nset ${NGHTTPX} 0 0 1\r\nx\r\nget ${H2O}\r\n`),
  )
  assert.equal(said.toString(), 'END\r\nSTORED\r\nEND\r\n')
})

async function listen(t: TestContext) {
  const parts = setup()
  const { hooks, clock, logger, ticketKeys } = parts
  const frontend = new MemcachedFrontend({
    ...{ address: { host: '127.0.0.1', port: 0 }, process: SERVER_PROCESS },
    ...{ hooks, clock, logger, ticketKeys },
  })
  await frontend.start()
  t.after(() => frontend.stop())
  const client = await StreamClient.connect(frontend.address)
  t.after(() => client.close())
  return { ...parts, client }
}

test('a lone get on a connection that had others gets the keys, and later the next ones', async (t) => {
  const { client, passHours, wanted } = await listen(t)
  client.send('get a\r\n')
  assert.equal(await client.until('END\r\n'), 'END\r\n')
  for (const hours of [1, 2]) {
    passHours(hours)
    client.send(`get ${NGHTTPX}\r\n`)
    const answer = await client.until('\r\nEND\r\n')
    assert.equal(answer, textValue(NGHTTPX, wanted()).toString('latin1'))
  }
})

test('a lone get before there is a ring ends the connection', async (t) => {
  const { client } = await listen(t)
  client.send('get a\r\n')
  assert.equal(await client.until('END\r\n'), 'END\r\n')
  client.send(`get ${H2O}\r\n`)
  await client.closed
  assert.equal(client.received, '')
})

test('keys do not stay where answers are gathered, also when it had to grow', () => {
  const { peer, passHours, ring } = setup()
  passHours(1)
  const memory = new PeerMemory()
  const first = memory.output.memory
  peer('text', memory).send(Buffer.from(`get ${NGHTTPX}\r\n`))
  const [one] = ring.keys
  assert.ok(one !== undefined)
  assert.ok(!first.includes(one.key.aes(32)))
  // The secret moves to larger memory and is erased in both.
  const output = new ReplyBuffer()
  const before = output.memory
  output.text('head')
  output.secret(Buffer.from('a secret'))
  output.bytes(Buffer.alloc(before.length, 'x'))
  const grown = output.memory
  assert.notEqual(grown, before)
  assert.ok(!before.includes('a secret') && grown.includes('a secret'))
  output.truncate(4)
  assert.ok(!grown.includes('a secret'))
  assert.equal(grown.toString('latin1', 0, 4), 'head')
})
