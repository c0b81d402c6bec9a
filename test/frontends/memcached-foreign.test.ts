// Peers of the memcached frontend that speak something else: a web page can have a browser write what follows the first
// line of a request, or bytes within a TLS handshake, so nothing of that is carried out.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createCacheFixture } from '../support/cache-fixture.ts'
import { everyByte, MemcachedPeer } from '../support/memcached-peer.ts'

const SET = 'set a 0 0 1\r\n1\r\n'
const FOREIGN = [
  { line: 'POST / HTTP/1.1', protocol: 'http' },
  { line: 'GET /?a=b HTTP/1.0', protocol: 'http' },
  { line: 'get1 / HTTP/1.1', protocol: 'http' },
  { line: 'OPTIONS * HTTP/1.1', protocol: 'http' },
  { line: 'PRI * HTTP/2.0', protocol: 'http' },
  { line: 'GET /', protocol: 'http' },
  { line: '\x16\x03\x01\x02\0\x01', protocol: 'binary' },
  { line: '\0\x01\0\x50\x21\x12\xa4\x42', protocol: 'binary' },
] as const

for (const { line, protocol } of FOREIGN) {
  for (const how of ['whole', 'byte by byte']) {
    test(`what follows ${JSON.stringify(line)} is not carried out, ${how}`, () => {
      const cache = createCacheFixture()
      const peer = new MemcachedPeer(cache, 'text')
      const text = `${SET}${line}\r\nHost: a\r\n\r\nflush_all\r\nget a\r\n`
      const said = Buffer.from(text, 'latin1')
      const answers = peer.sendInPieces(said, how === 'whole' ? [] : everyByte(said))
      assert.equal(answers.toString(), 'STORED\r\n')
      assert.equal(peer.isClosed, true)
      assert.equal(cache.store.stats.items, 1)
      const { httpRequests, foreignBytes, malformed, flushes } = peer.stats
      const isHttp = protocol === 'http'
      assert.deepEqual([httpRequests, foreignBytes], isHttp ? [1, 0] : [0, 1])
      assert.deepEqual([malformed, flushes], [0, 0])
    })
  }
}

for (const [method, answer] of [
  ['get', 'END\r\n'],
  ['gets', 'END\r\n'],
  ['touch', 'CLIENT_ERROR invalid exptime argument\r\n'],
] as const) {
  test(`nothing of a request is carried out whose method is ${method}, as a page whose name leads here may send it`, () => {
    const cache = createCacheFixture()
    const peer = new MemcachedPeer(cache, 'text')
    const request = `${method} / HTTP/1.1\r\nHost: rebound.example:11211\r\n\r\nflush_all\r\nget a\r\n`
    assert.equal(peer.send(Buffer.from(SET + request)).toString(), `STORED\r\n${answer}`)
    assert.equal(peer.isClosed, true)
    assert.equal(cache.store.stats.items, 1)
    assert.deepEqual([peer.stats.httpRequests, peer.stats.flushes], [1, 0])
  })
}

test('keys that look like HTTP are keys, and lines that are nothing are answered with an error', () => {
  const peer = new MemcachedPeer(createCacheFixture(), 'text')
  const said = `set HTTP/1.1 0 0 1\r\n1\r\nget / HTTP/1.1\r\n\r\nbogus\r\nget /\r\n`
  const expected = 'STORED\r\nVALUE HTTP/1.1 0 1\r\n1\r\nEND\r\nERROR\r\nERROR\r\nEND\r\n'
  assert.equal(peer.send(Buffer.from(said)).toString(), expected)
  assert.equal(peer.isClosed, false)
})
