// uWSGI's cache commands over TCP: each with its answer, whole and byte by byte, and what is refused.

import assert from 'node:assert/strict'
import { Server } from 'node:net'
import { type TestContext, test } from 'node:test'
import { CONNECTION_MS, UwsgiFrontend } from '../../src/frontends/uwsgi/frontend.ts'
import { formatDictionary, parseDictionary } from '../../src/uwsgi/datagram.ts'
import { createCacheFixture } from '../support/cache-fixture.ts'
import { until } from '../support/latch.ts'
import { encodeSession } from '../support/session-encoder.ts'
import { StreamClient } from '../support/stream-client.ts'

const COMMAND = 17

type Pairs = readonly (readonly [key: string, value: string])[]

function request(pairs: Pairs, value = ''): string {
  return formatDictionary(COMMAND, pairs).toString('latin1') + value
}

/** Returns a put request in the form of uWSGI's client, which sends the size twice. */
function put(cmd: 'set' | 'update', key: string, value: string, expires = '', cache = 'ssl') {
  const size = ['size', String(value.length)] as const
  const lifetime = expires === '' ? [] : [['expires', expires] as const]
  return request([['cmd', cmd], ['key', key], size, ...lifetime, size, ['cache', cache]], value)
}

function ask(cmd: string, key = '', cache = 'ssl') {
  const keyPair = key === '' ? [] : [['key', key] as const]
  return request([['cmd', cmd], ...keyPair, ['cache', cache]])
}

async function setup(t: TestContext, maxConnections?: number) {
  const cache = createCacheFixture()
  const other = createCacheFixture({ name: 'other' })
  const frontend = new UwsgiFrontend({
    address: { host: '127.0.0.1', port: 0 },
    hooks: new Map([
      ['ssl', cache.hooks],
      ['other', other.hooks],
    ]),
    defaultCache: 'ssl',
    clock: cache.clock,
    maxConnections,
  })
  await frontend.start()
  t.after(async () => {
    await frontend.stop()
    await until('every connection is forgotten', () => frontend.stats.connections === 0)
  })
  const connect = () => StreamClient.connect(frontend.address)
  const exchange = async (...parts: string[]) => {
    const client = await connect()
    for (const part of parts) {
      client.send(part)
      await new Promise(setImmediate)
    }
    await client.closed
    return client.received
  }
  const counts = () =>
    Object.fromEntries(Object.entries(frontend.stats).filter(([, count]) => count > 0))
  return { ...cache, other, frontend, connect, exchange, counts }
}

const OK = request([['status', 'ok']])

function found(value: string, expires: number): string {
  return request(
    [
      ['status', 'ok'],
      ['size', String(value.length)],
      ['expires', String(expires)],
    ],
    value,
  )
}

/** Each step is sent on a connection of its own; an empty answer is a refusal. */
const CASES: readonly [name: string, steps: readonly [sent: string, answer: string][]][] = [
  [
    'set and get',
    [
      [put('set', 'k', 'value', '300'), OK],
      [ask('get', 'k'), found('value', 300)],
    ],
  ],
  [
    'set refuses a key that is there, update does not',
    [
      [put('set', 'k', 'one'), OK],
      [put('set', 'k', 'two'), ''],
      [put('update', 'k', 'three', '60'), OK],
      [ask('get', 'k'), found('three', 60)],
    ],
  ],
  [
    'exists and del',
    [
      [ask('exists', 'k'), ''],
      [put('update', 'k', 'v'), OK],
      [ask('exists', 'k'), OK],
      [ask('del', 'k'), OK],
      [ask('del', 'k'), ''],
      [ask('exists', 'k'), ''],
    ],
  ],
  [
    'clear',
    [
      [put('set', 'a', 'v'), OK],
      [put('set', 'b', 'v'), OK],
      [ask('clear'), OK],
      [ask('get', 'a'), ''],
      [ask('exists', 'b'), ''],
    ],
  ],
  [
    'caches are apart, and one without a name is the first',
    [
      [put('set', 'k', 'v', '60', 'other'), OK],
      [ask('get', 'k'), ''],
      [ask('get', 'k', 'other'), found('v', 60)],
      [put('set', 'k', 'w', '60', ''), OK],
      [ask('get', 'k', ''), found('w', 60)],
      [
        request([
          ['cmd', 'get'],
          ['key', 'k'],
        ]),
        found('w', 60),
      ],
      [ask('get', 'k', 'nosuch'), ''],
    ],
  ],
]

for (const [name, steps] of CASES) {
  for (const isByteByByte of [false, true]) {
    test(`${name}${isByteByByte ? ', byte by byte' : ''}`, async (t) => {
      const { exchange, clock } = await setup(t)
      const nowSec = Math.round(clock.wallMs() / 1000)
      for (const [sent, answer] of steps) {
        const received = await exchange(...(isByteByByte ? sent : [sent]))
        assert.equal(withRelativeExpiry(received, nowSec), answer)
      }
    })
  }
}

/** Answers tell a time; the table has lifetimes. */
function withRelativeExpiry(answer: string, nowSec: number): string {
  const bytes = Buffer.from(answer, 'latin1')
  if (bytes.length === 0) return ''
  const bodyEnd = 4 + bytes.readUInt16LE(1)
  const pairs = parseDictionary(bytes.subarray(4, bodyEnd))
  assert.ok(pairs !== undefined)
  const relative = [...pairs].map(
    ([key, value]) =>
      [key, key === 'expires' ? String(Number(value) - nowSec) : value.toString()] as const,
  )
  return request(relative, answer.slice(bodyEnd))
}

const REFUSED: readonly [name: string, sent: string, counter: string][] = [
  ['a dump', '\x6f\x03\x00\x06ssl', 'refusedDumps'],
  ['the old get', '\x6f\x01\x00\x00k', 'unsupported'],
  ['another protocol', 'GET / HTTP/1.0\r\n\r\n', 'malformed'],
  ['a command that is not served', ask('inc', 'k'), 'unsupported'],
  ['no command', request([['key', 'k']]), 'malformed'],
  ['a key without an end', '\x6f\x05\x00\x11\x03\x00cmd', 'malformed'],
  [
    'two keys',
    request([
      ['cmd', 'get'],
      ['key', 'a'],
      ['key', 'b'],
    ]),
    'malformed',
  ],
  ['no key', ask('get'), 'malformed'],
  [
    'a set without a value',
    request([
      ['cmd', 'set'],
      ['key', 'k'],
    ]),
    'malformed',
  ],
  [
    'a size that is no number',
    request([
      ['cmd', 'set'],
      ['key', 'k'],
      ['size', '-1'],
    ]),
    'malformed',
  ],
  [
    'a get with a value',
    request(
      [
        ['cmd', 'get'],
        ['key', 'k'],
        ['size', '1'],
      ],
      'v',
    ),
    'malformed',
  ],
  ['a lifetime that is no number', put('set', 'k', 'v', '1h'), 'malformed'],
  ['an unknown cache', ask('get', 'k', 'nosuch'), 'unknownCaches'],
  ['a value that is too large', put('set', 'k', 'v'.repeat(4097)).slice(0, 90), 'refused'],
  ['a key that is too long', put('set', 'k'.repeat(251), 'v'), 'refused'],
]

for (const [name, sent, counter] of REFUSED) {
  test(`refused: ${name}`, async (t) => {
    const { exchange, counts, store } = await setup(t)
    assert.equal(await exchange(sent), '')
    assert.equal(counts()[counter], 1)
    assert.equal(store.stats.items, 0)
  })
}

test('a request that is cut off is malformed, and one that never ends is closed', async (t) => {
  const { connect, counts, clock, frontend } = await setup(t)
  const cut = await connect()
  cut.socket.end('\x6f\x20', 'latin1')
  await cut.closed
  assert.equal(counts()['malformed'], 1)
  const slow = await connect()
  await until('it is there', () => frontend.stats.connections === 1)
  clock.advance(CONNECTION_MS)
  await slow.closed
  assert.equal(counts()['timedOutConnections'], 1)
})

test('a session keeps its context, and one under another ID is refused', async (t) => {
  const { exchange, hooks, clock } = await setup(t)
  const id = Buffer.alloc(32, 7)
  const context = Buffer.from('foobar')
  const timeSec = Math.floor(clock.wallMs() / 1000)
  const session = encodeSession({ id, context, timeSec, timeoutSec: 100 })
  const value = session.toString('latin1')
  // formatDictionary writes UTF-8: an ID below 128 is the same in both.
  assert.equal(await exchange(put('update', id.toString('latin1'), value, '300')), OK)
  assert.deepEqual(hooks.get(context, id), { session, ttlMs: 100_000 })
  assert.equal(hooks.get(Buffer.from('else'), id), undefined)
  assert.equal(await exchange(put('update', 'otherid', value, '300')), '')
})

test('more connections than allowed are closed as they come', async (t) => {
  const { connect, frontend, counts } = await setup(t, 1)
  const first = await connect()
  await until('it is there', () => frontend.stats.connections === 1)
  const second = await connect()
  await second.closed
  assert.equal(counts()['rejectedConnections'], 1)
  first.close()
})

test('a connection that could not be accepted is counted, and does not end the process', async (t) => {
  const listens = t.mock.method(Server.prototype, 'listen')
  const { frontend } = await setup(t)
  const server = listens.mock.calls[0]?.this
  assert.ok(server instanceof Server)
  server.emit('error', new Error('accept EMFILE'))
  assert.equal(frontend.stats.rejectedConnections, 1)
})
