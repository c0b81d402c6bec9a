// Sessions under keys that scripts spell in ways of their own, as they are posted for nginx: whoever wrote it, the session
// is that of its ID.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createCacheFixture } from '../support/cache-fixture.ts'
import { MemcachedPeer } from '../support/memcached-peer.ts'
import { encodeSession, type SessionFields } from '../support/session-encoder.ts'

const shop = Buffer.from('shop')
const bank = Buffer.from('bank')
const id = Buffer.from(Array.from({ length: 32 }, (_value, index) => index * 8 + 3))
const hex = id.toString('hex')

function setup(...options: Parameters<typeof createCacheFixture>) {
  const cache = createCacheFixture(...options)
  const peer = new MemcachedPeer(cache, 'text')
  const say = (line: string, data?: Buffer) => {
    const parts = data === undefined ? [] : [data, Buffer.from('\r\n')]
    return peer.send(Buffer.concat([Buffer.from(`${line}\r\n`), ...parts])).toString('latin1')
  }
  const set = (key: string, data: Buffer, flags = 0) =>
    say(`set ${key} ${flags} 299 ${data.length}`, data)
  const shows = (key: string, data: Buffer, flags = 0) =>
    `VALUE ${key} ${flags} ${data.length}\r\n${data.toString('latin1')}\r\nEND\r\n`
  const timeSec = Math.floor(cache.clock.wallMs() / 1000)
  const encode = (more: SessionFields = {}) =>
    encodeSession({ id, context: shop, timeSec, timeoutSec: 300, ...more })
  return { ...cache, say, set, shows, encode, timeSec }
}

const KEYS = [
  hex,
  hex.toUpperCase(),
  `sess:${hex}`,
  `TLS_${hex.toUpperCase()}`,
  `mod_ssl-sess:${hex.toUpperCase()}`,
  `deadbeef${hex}`,
  `${hex}.shop`,
  id.toString('base64'),
  id.toString('base64url'),
  `ssl_${id.toString('base64url')}`,
]

for (const key of KEYS) {
  test(`${key.slice(0, 30)} is the session whose ID it contains`, () => {
    const { hooks, store, say, set, shows, encode } = setup()
    const session = encode()
    assert.equal(set(key, session), 'STORED\r\n')
    // Every frontend finds it, under its own context.
    assert.deepEqual(hooks.get(shop, id)?.session, session)
    assert.equal(hooks.get(bank, id), undefined)
    assert.equal(say(`get ${key}`), shows(key, session))
    assert.equal(say(`get mod_ssl-sess:${hex}`), shows(`mod_ssl-sess:${hex}`, session))
    assert.deepEqual(store.stats.gets, { hit: 3, miss: 0, expired: 0, context_mismatch: 1 })
    assert.equal(store.stats.items, 1)
    // Nobody else takes it over.
    assert.match(set(key, encode({ context: bank })), /session ID context does not match/)
    assert.equal(say(`touch ${key} 10`), 'TOUCHED\r\n')
    assert.equal(hooks.get(shop, id)?.ttlMs, 10_000)
    assert.equal(say(`delete ${key}`), 'DELETED\r\n')
    assert.equal(store.stats.items, 0)
    assert.equal(say(`get ${key}`), 'END\r\n')
  })
}

test('a session is found on a node where another frontend, or a peer, stored it', () => {
  const { hooks, say, shows, encode } = setup()
  hooks.put({ context: shop, id, session: encode() })
  for (const key of KEYS) assert.equal(say(`get ${key}`), shows(key, encode()))
})

test('bytes under an ID that are no session of that ID are not given out by a spelled key', () => {
  const { hooks, store, say } = setup()
  hooks.put({ context: shop, id, session: Buffer.from('opaque') })
  assert.equal(say(`get sess:${hex}`), 'END\r\n')
  assert.equal(store.stats.gets.miss, 1)
})

test('a session whose ID is not in the key is a plain value', () => {
  const { hooks, store, set, say, shows, encode } = setup()
  const other = encode({ id: Buffer.alloc(32, 1), context: bank })
  for (const key of ['plain', `sess:${hex}`]) {
    assert.equal(set(key, other), 'STORED\r\n')
    assert.equal(say(`get ${key}`), shows(key, other))
  }
  assert.equal(hooks.get(bank, Buffer.alloc(32, 1)), undefined)
  // It is a plain value, so any other value replaces it.
  assert.equal(set('plain', encode()), 'STORED\r\n')
  assert.equal(set('plain', Buffer.from('text')), 'STORED\r\n')
  assert.equal(store.stats.puts.context + store.stats.puts.key_mismatch, 0)
})

test('a session with flags is a plain value, and keeps them', () => {
  const { hooks, set, say, shows, encode } = setup()
  assert.equal(set(hex, encode(), 2), 'STORED\r\n')
  assert.equal(say(`get ${hex}`), shows(hex, encode(), 2))
  assert.equal(hooks.get(shop, id), undefined)
})

test('the value that was written last under a key is what it gives', () => {
  const { store, set, say, shows, encode } = setup()
  const key = `sess:${hex}`
  const text = Buffer.from('text')
  assert.equal(set(key, encode()), 'STORED\r\n')
  assert.equal(set(key, text), 'STORED\r\n')
  assert.equal(say(`get ${key}`), shows(key, text))
  assert.equal(set(key, encode()), 'STORED\r\n')
  assert.equal(say(`get ${key}`), shows(key, encode()))
  assert.equal(set(key, text), 'STORED\r\n')
  // Both are gone.
  assert.equal(say(`delete ${key}`), 'DELETED\r\n')
  assert.equal(say(`get ${key}`), 'END\r\n')
  assert.equal(store.stats.items, 0)
})

test('with contexts, a session has to bring a listed one, under whatever key', () => {
  const { store, set, say, shows, encode } = setup({ contexts: [shop] })
  for (const key of ['plain', hex, `other:${hex}`]) {
    assert.match(set(key, encode({ context: bank })), /session ID context does not match/)
    assert.equal(set(key, encode()), 'STORED\r\n')
    assert.equal(say(`get ${key}`), shows(key, encode()))
  }
  assert.match(set('plain2', encode({ context: bank }), 1), /session ID context does not match/)
  assert.equal(set('plain2', encode(), 1), 'STORED\r\n')
  assert.equal(store.stats.puts.context, 4)
})

test('under no key a session is stored that allows early data or is over', () => {
  const { store, set, encode, timeSec, clock, say } = setup()
  for (const key of ['plain', hex, `mod_ssl-sess:${hex}`]) {
    assert.match(set(key, encode({ maxEarlyData: 1 })), /it allows early data/)
    assert.match(set(key, encode({ timeSec: timeSec - 301 })), /it has no lifetime left/)
  }
  assert.match(set('plain', encode({ maxEarlyData: 1 }), 3), /it allows early data/)
  assert.equal(store.stats.items, 0)
  // Nor is it given back for longer than it lives.
  assert.equal(set('plain', encode({ timeSec: timeSec - 290 })), 'STORED\r\n')
  clock.advance(10_000)
  assert.equal(say('get plain'), 'END\r\n')
})

test('add, cas and single use hold for spelled keys, too', () => {
  const { say, encode, shows } = setup({}, true)
  const session = encode({ protocolVersion: 0x0304 })
  assert.equal(say(`add ${hex} 0 299 ${session.length}`, session), 'STORED\r\n')
  assert.equal(say(`add x:${hex} 0 299 ${session.length}`, session), 'NOT_STORED\r\n')
  assert.equal(say(`cas x:${hex} 0 299 ${session.length} 1`, session), 'EXISTS\r\n')
  assert.equal(say(`get x:${hex}`), shows(`x:${hex}`, session))
  assert.equal(say(`get x:${hex}`), 'END\r\n')
})
