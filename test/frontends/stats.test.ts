// The stats frontend: the document and its fields, over plain TCP and over HTTP, and its bounds.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { Server } from 'node:net'
import { type TestContext, test } from 'node:test'
import { parseAddress } from '../../src/base/address.ts'
import { silentLogger } from '../../src/base/world.ts'
import { CONNECTION_MS, SILENCE_MS, StatsFrontend } from '../../src/frontends/stats/frontend.ts'
import { createNode } from '../../src/node/node.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { until } from '../support/latch.ts'
import { StreamClient } from '../support/stream-client.ts'

const CONTEXT = Buffer.from('shop')

function idOf(number: number): Buffer {
  return Buffer.alloc(32, number)
}

async function setup(t: TestContext, maxConnections?: number) {
  const clock = new FakeClock()
  const node = createNode(
    { node: { name: 'edge' }, caches: [{ name: 'ssl', items: 3, keysize: 64, timeout: '60s' }] },
    { clock, logger: silentLogger },
  )
  const frontend = new StatsFrontend({
    address: parseAddress('127.0.0.1:0'),
    backend: node,
    clock,
    process: { version: '1.2.3', pid: 77 },
    maxConnections,
  })
  await frontend.start()
  const clients: StreamClient[] = []
  t.after(async () => {
    for (const client of clients) client.close()
    await frontend.stop()
    await until('every connection is forgotten', () => frontend.stats.connections === 0)
    assert.equal(clock.pendingCount, 0)
  })
  const connect = async () => {
    const open = frontend.stats.connections
    const client = await StreamClient.connect(frontend.address)
    clients.push(client)
    await until('the frontend has it', () => frontend.stats.connections > open)
    return client
  }
  /** Everything that the frontend says to somebody who says nothing. */
  const read = async () => {
    const client = await connect()
    clock.advance(SILENCE_MS)
    await client.closed
    return JSON.parse(client.received)
  }
  return { clock, node, frontend, connect, read }
}

test('the fields of uWSGI come first and mean what they mean there', async (t) => {
  const { node, clock, read } = await setup(t)
  const vector = readFileSync(
    new URL('../vectors/uwsgi/stats-example.json', import.meta.url),
    'utf8',
  )
  const theirs: { caches: Record<string, unknown>[] } = JSON.parse(vector)
  const hooks = node.hooks('ssl')
  const empty = (await read()).caches[0]
  assert.deepEqual(Object.keys(empty).slice(0, 12), Object.keys(theirs.caches[0] ?? {}))
  assert.equal(empty.last_modified_at, 0)

  for (const number of [1, 2, 3, 4])
    hooks.put({ context: CONTEXT, id: idOf(number), session: Buffer.alloc(130) })
  hooks.get(CONTEXT, idOf(4))
  hooks.get(CONTEXT, idOf(9))
  hooks.get(Buffer.from('other'), idOf(4))
  const madeSec = Math.floor(clock.wallMs() / 1000)
  clock.advance(60_000)
  hooks.get(CONTEXT, idOf(4))
  const { caches, ...rest } = await read()
  const [cache] = caches
  assert.deepEqual(
    [cache.name, cache.keysize, cache.max_items, cache.blocks, cache.blocksize, cache.items],
    ['ssl', 64, 3, 3, 16_384, 2],
  )
  // One hit; an unknown ID, another context's and an expired one are misses. The fourth pushed one out.
  assert.deepEqual([cache.hits, cache.miss, cache.full], [1, 3, 1])
  assert.equal(cache.last_modified_at, madeSec)
  assert.equal(cache.gets.context_mismatch, 1)
  assert.deepEqual(
    [rest.version, rest.pid, rest.node, rest.replication, rest.peers],
    ['tlscached-1.2.3', 77, 'edge', null, []],
  )
})

test('a removal is a modification', async (t) => {
  const { node, clock, read } = await setup(t)
  node.hooks('ssl').put({ context: CONTEXT, id: idOf(1), session: Buffer.alloc(130) })
  clock.advance(5000)
  node.hooks('ssl').remove(CONTEXT, idOf(1))
  assert.equal(
    (await read()).caches[0].last_modified_at,
    Math.floor((clock.wallMs() - SILENCE_MS) / 1000),
  )
})

test('last_modified_at of an unchanged cache stays, whatever the wall clock does', async (t) => {
  const { node, clock, read } = await setup(t)
  node.hooks('ssl').put({ context: CONTEXT, id: idOf(1), session: Buffer.alloc(130) })
  const madeSec = Math.floor(clock.wallMs() / 1000)
  clock.shiftWall(5000)
  assert.equal((await read()).caches[0].last_modified_at, madeSec)
})

const ASKED: readonly [name: string, parts: readonly string[], isHttp: boolean][] = [
  ['a GET', ['GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'], true],
  ['a GET in pieces', ['G', 'ET', ' /any HTTP/1.0\r\n', 'A: b\r\n', '\r\n'], true],
  ['something else', ['HELLO\n'], false],
]

for (const [name, parts, isHttp] of ASKED) {
  test(`${name} is answered at once`, async (t) => {
    const { connect, frontend } = await setup(t)
    const client = await connect()
    for (const part of parts) {
      client.send(part)
      await new Promise(setImmediate)
    }
    await client.closed
    const [head = '', body = ''] = isHttp
      ? client.received.split('\r\n\r\n')
      : ['', client.received]
    assert.equal(JSON.parse(body).node, 'edge')
    if (isHttp) {
      assert.match(head, /^HTTP\/1\.0 200 OK\r\n/)
      assert.match(head, /\r\nContent-Type: application\/json\r\n/)
      assert.match(head, new RegExp(`Content-Length: ${Buffer.byteLength(body)}`))
    }
    assert.deepEqual([frontend.stats.documents, frontend.stats.httpDocuments], [1, isHttp ? 1 : 0])
  })
}

test('a client that ends its side at once gets the document at once', async (t) => {
  const { connect } = await setup(t)
  const client = await connect()
  client.socket.end()
  await client.closed
  assert.equal(JSON.parse(client.received).node, 'edge')
})

for (const [name, request] of [
  ['is too long', `GET /${'x'.repeat(9000)}`],
  ['ends too early', 'GET / HTTP/1.1\r\n'],
] as const) {
  test(`a request that ${name} is a bad one`, async (t) => {
    const { connect, frontend } = await setup(t)
    const client = await connect()
    client.socket.end(request)
    await client.closed
    assert.match(client.received, /^HTTP\/1\.0 400 /)
    assert.equal(frontend.stats.malformed, 1)
  })
}

test('a request that never ends is cut off', async (t) => {
  const { connect, frontend, clock } = await setup(t)
  const client = await connect()
  client.send('GET / HTTP/1.1\r\n')
  await until('it arrived', () => client.socket.bytesWritten > 0)
  await new Promise(setImmediate)
  clock.advance(CONNECTION_MS)
  await client.closed
  assert.equal(frontend.stats.timedOutConnections, 1)
})

test('more connections than allowed are closed as they come', async (t) => {
  const { connect, frontend } = await setup(t, 1)
  await connect()
  const second = await StreamClient.connect(frontend.address)
  await second.closed
  assert.equal(second.received, '')
  assert.equal(frontend.stats.rejectedConnections, 1)
})

test('a node serves it where the configuration says', async (t) => {
  const node = createNode({ frontends: { stats: '127.0.0.1:0' } }, { logger: silentLogger })
  await node.start()
  t.after(() => node.stop())
  const address = node.listening().find(({ name }) => name === 'stats')?.address ?? ''
  const client = await StreamClient.connect(parseAddress(address))
  await client.closed
  assert.equal(JSON.parse(client.received).caches[0].name, 'ssl')
  assert.match(
    (await node.metrics()).text,
    /frontend_events_total\{frontend="stats",event="documents"\} 1/,
  )
})

test('a connection that could not be accepted is counted, and does not end the process', async (t) => {
  const listens = t.mock.method(Server.prototype, 'listen')
  const { frontend } = await setup(t)
  const server = listens.mock.calls[0]?.this
  assert.ok(server instanceof Server)
  server.emit('error', new Error('accept EMFILE'))
  assert.equal(frontend.stats.rejectedConnections, 1)
})
