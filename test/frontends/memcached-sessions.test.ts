// Sessions of real terminators over memcached: as Apache, nghttpx and h2o write them, found by the others.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readEncodedSession } from '../../src/session/encoded-session.ts'
import { createCacheFixture } from '../support/cache-fixture.ts'
import { binaryAnswers, binaryRequest } from '../support/memcached-frames.ts'
import { MemcachedPeer } from '../support/memcached-peer.ts'
import { encodeSession } from '../support/session-encoder.ts'
import { readSessionVectors } from '../support/session-vectors.ts'

const shop = Buffer.from('shop')
const bank = Buffer.from('bank')
const vectors = readSessionVectors()

function setup(options: Parameters<typeof createCacheFixture> = []) {
  const cache = createCacheFixture(...options)
  const text = new MemcachedPeer(cache, 'text')
  const binary = new MemcachedPeer(cache, 'binary')
  const say = (line: string, data?: Buffer) => {
    const parts = data === undefined ? [] : [data, Buffer.from('\r\n')]
    return text.send(Buffer.concat([Buffer.from(`${line}\r\n`), ...parts])).toString('latin1')
  }
  const ask = (request: Buffer) => binaryAnswers(binary.send(request))
  const nowSec = cache.clock.wallMs() / 1000
  const encode = (id: Buffer, context: Buffer, more = {}) =>
    encodeSession({ id, context, timeSec: nowSec, timeoutSec: 300, ...more })
  return { ...cache, say, ask, encode, nowSec }
}

const id = Buffer.from(Array.from({ length: 32 }, (_value, index) => index * 8 + 3))
const apacheKey = `mod_ssl-sess:${id.toString('hex')}`
const nghttpxKey = `nghttpx:tls-session-cache:${id.toString('hex')}`
const h2oKey = `h2o:ssl-session-cache:${id.toString('base64url')}`

function valueIn(answer: string): Buffer | undefined {
  const head = /^VALUE \S+ 0 (\d+)\r\n/.exec(answer)
  if (head === null) return undefined
  const start = head[0].length
  const value = Buffer.from(answer, 'latin1').subarray(start, start + Number(head[1]))
  assert.equal(answer.slice(start + value.length), '\r\nEND\r\n')
  return value
}

test('what Apache puts, everybody finds in their own writing', () => {
  const { say, ask, hooks, encode } = setup()
  const session = encode(id, shop)
  assert.equal(say(`set ${apacheKey} 0 299 ${session.length} `, session), 'STORED\r\n')
  assert.deepEqual(hooks.get(shop, id)?.session, session)
  assert.equal(hooks.get(bank, id), undefined)
  assert.deepEqual(valueIn(say(`get ${apacheKey}`)), session)
  assert.deepEqual(valueIn(say(`get ${h2oKey}`))?.toString(), session.toString('base64url'))
  const [answer] = ask(binaryRequest(0x00, { key: nghttpxKey }))
  assert.deepEqual(answer?.value, session)
  assert.deepEqual([answer?.status, answer?.key, answer?.extras.length], [0, '', 4])
  assert.equal(say(`delete ${apacheKey} 0`), 'DELETED\r\n')
  assert.equal(hooks.get(shop, id), undefined)
})

test('nghttpx adds, once', () => {
  const { ask, hooks, encode } = setup()
  const session = encode(id, Buffer.from('shrpx'))
  const extras = Buffer.from('000000000000a8c0', 'hex')
  const add = binaryRequest(0x02, { key: nghttpxKey, extras, value: session })
  assert.equal(ask(add)[0]?.status, 0)
  assert.equal(ask(add)[0]?.status, 2)
  assert.deepEqual(hooks.get(Buffer.from('shrpx'), id)?.session, session)
})

test('h2o writes base64url and an absolute time, quietly', () => {
  const { ask, say, hooks, encode, nowSec } = setup()
  const session = encode(id, Buffer.alloc(0))
  const extras = Buffer.alloc(8)
  extras.writeUInt32BE(nowSec + 100, 4)
  const value = session.toString('base64url')
  assert.deepEqual(ask(binaryRequest(0x11, { key: h2oKey, extras, value })), [])
  assert.deepEqual(hooks.get(Buffer.alloc(0), id), { session, ttlMs: 100_000 })
  assert.equal(ask(binaryRequest(0x00, { key: h2oKey }))[0]?.value.toString(), value)
  assert.match(say(`gets ${h2oKey}`), /^VALUE \S+ 0 \d+ \d+\r\n/)
})

test('a session that a hook stored is found by its key', () => {
  const { say, hooks, encode } = setup()
  const session = encode(id, shop)
  hooks.put({ context: shop, id, session })
  assert.deepEqual(valueIn(say(`get ${apacheKey}`)), session)
})

for (const name of ['nghttpx-tls12.der', 'h2o-tls12.der', 'h2o-tls13.der', 'tls13-sni.der']) {
  test(`the real session ${name}, under each of the keys`, () => {
    const { say, clock } = setup([{ timeoutMs: 86_400_000 }])
    const session = vectors.find((vector) => vector.name === name)?.bytes ?? Buffer.alloc(0)
    const parsed = readEncodedSession(session)
    clock.shiftWall((parsed.timeSec ?? 0) * 1000 - clock.wallMs())
    const hex = Buffer.from(parsed.id).toString('hex')
    assert.equal(say(`set mod_ssl-sess:${hex} 0 100 ${session.length}`, session), 'STORED\r\n')
    assert.deepEqual(valueIn(say(`get nghttpx:tls-session-cache:${hex}`)), session)
    const text = Buffer.from(session.toString('base64url'))
    const key = `h2o:ssl-session-cache:${Buffer.from(parsed.id).toString('base64url')}`
    assert.deepEqual(valueIn(say(`get ${key}`)), text)
    assert.equal(say(`set ${key} 0 100 ${text.length}`, text), 'STORED\r\n')
    assert.deepEqual(valueIn(say(`get mod_ssl-sess:${hex}`)), session)
  })
}

test('a session under the ID of another one is refused, and what was there stays', () => {
  const { say, store, encode } = setup()
  const session = encode(id, shop)
  const other = encode(Buffer.alloc(32, 1), shop)
  say(`set ${apacheKey} 0 299 ${session.length}`, session)
  const otherKey = /^SERVER_ERROR session refused: its ID is not the one in the key\r\n$/
  assert.match(say(`set ${apacheKey} 0 299 ${other.length}`, other), otherKey)
  assert.match(say(`set ${apacheKey} 7 299 ${session.length}`, session), otherKey)
  const refused = /^SERVER_ERROR session refused: its session ID context does not match\r\n$/
  // Nor does it change hands, or become something that knows no context.
  const stolen = encode(id, bank)
  assert.match(say(`set ${apacheKey} 0 299 ${stolen.length}`, stolen), refused)
  assert.match(say(`set ${apacheKey} 0 299 2`, Buffer.from('hi')), refused)
  assert.match(say(`prepend ${apacheKey} 0 0 2`, Buffer.from('hi')), refused)
  assert.deepEqual(valueIn(say(`get ${apacheKey}`)), session)
  assert.deepEqual([store.stats.puts.context, store.stats.puts.key_mismatch], [3, 2])
})

test('only the contexts of the cache are taken', () => {
  const { say, encode } = setup([{ contexts: [shop] }])
  const own = encode(id, shop)
  const foreign = encode(id, bank)
  assert.match(say(`set ${apacheKey} 0 299 ${foreign.length}`, foreign), /^SERVER_ERROR session/)
  assert.match(say('set plain 0 299 2', Buffer.from('hi')), /^SERVER_ERROR session/)
  assert.equal(say(`set ${apacheKey} 0 299 ${own.length}`, own), 'STORED\r\n')
})

test('early data and a lifetime that is over are refused', () => {
  const { say, encode, nowSec } = setup()
  const early = encode(id, shop, { maxEarlyData: 1 })
  assert.match(say(`set ${apacheKey} 0 299 ${early.length}`, early), /it allows early data/)
  const over = encode(id, shop, { timeSec: nowSec - 301 })
  assert.match(say(`set ${apacheKey} 0 299 ${over.length}`, over), /it has no lifetime left/)
})

test('a touch gives no more lifetime than the session has, and keeps its server name', () => {
  const { say, hooks, clock, encode } = setup()
  const session = encode(id, shop)
  hooks.put({ context: shop, id, session, ttlMs: 10_000, serverName: 'shop.example' })
  clock.advance(5000)
  assert.equal(say(`touch ${apacheKey} 3000`), 'TOUCHED\r\n')
  assert.deepEqual(hooks.get(shop, id, 'shop.example'), { session, ttlMs: 295_000 })
  assert.equal(hooks.get(shop, id, ''), undefined)
})

test('where sessions are for single use, a get consumes one of TLS 1.3', () => {
  const { say, encode } = setup([{}, true])
  const session = encode(id, shop, { protocolVersion: 0x0304 })
  say(`set ${apacheKey} 0 299 ${session.length}`, session)
  assert.equal(say(`append ${apacheKey} 0 0 0`, Buffer.alloc(0)), 'STORED\r\n')
  assert.deepEqual(valueIn(say(`get ${apacheKey}`)), session)
  assert.equal(say(`get ${apacheKey}`), 'END\r\n')
})
