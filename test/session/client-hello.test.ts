// ClientHellos as real clients send them, cut, split and damaged.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ConnectionOptions } from 'node:tls'
import fc from 'fast-check'
import {
  type ClientHello,
  ClientHelloReader,
  MAX_CLIENT_HELLO_BYTES,
} from '../../src/session/client-hello.ts'
import { captureHello, inRecordsOf, readClientHello } from '../support/captured-hello.ts'

const TLS_1_3: ConnectionOptions = { minVersion: 'TLSv1.3', servername: 'www.test' }
const TLS_1_2: ConnectionOptions = { maxVersion: 'TLSv1.2', servername: 'www.test' }

function read(bytes: Buffer): ClientHello {
  const hello = readClientHello(bytes)
  assert.ok(hello !== undefined && hello !== 'incomplete')
  return hello
}

test('versions and server names of real clients', async () => {
  const modern = read(await captureHello(TLS_1_3))
  assert.equal(modern.offersTls13, true)
  assert.equal(modern.serverName, 'www.test')
  assert.equal(modern.pskIdentity, undefined)
  assert.equal(modern.sessionId.length, 32)
  const old = read(await captureHello(TLS_1_2))
  assert.equal(old.offersTls13, false)
  assert.equal(old.serverName, 'www.test')
  assert.equal(old.sessionId.length, 0)
  const nameless = read(await captureHello({ ...TLS_1_2, servername: '' }))
  assert.equal(nameless.serverName, '')
})

test('a ClientHello cut off anywhere may still become one', async () => {
  for (const options of [TLS_1_2, TLS_1_3]) {
    const hello = await captureHello(options)
    const split = inRecordsOf(50, hello)
    for (const bytes of [hello, split]) {
      for (let length = 0; length < bytes.length; length += 1) {
        assert.equal(readClientHello(bytes.subarray(0, length)), 'incomplete')
      }
    }
  }
})

test('records and what follows make no difference', async () => {
  const hello = await captureHello(TLS_1_3)
  const expected = read(hello)
  for (const size of [1, 2, 3, 4, 5, 63, 511]) {
    assert.deepEqual(read(inRecordsOf(size, hello)), expected)
  }
  assert.deepEqual(read(Buffer.concat([hello, Buffer.from('early data')])), expected)
})

test('as many records as fit, a byte at a time: each byte is looked at once', () => {
  const body = Buffer.alloc(MAX_CLIENT_HELLO_BYTES / 8)
  const header = Buffer.from([1, 0, body.length >> 8, body.length & 0xff])
  const bytes = Buffer.concat(
    [...header, ...body].map((byte) => Buffer.from([22, 3, 1, 0, 1, byte])),
  )
  const reader = new ClientHelloReader()
  // Looking at everything again for each byte would take a quarter of an hour.
  for (let end = 1; end < bytes.length; end += 1) {
    assert.equal(reader.read(bytes.subarray(0, end)), 'incomplete')
  }
  assert.deepEqual(reader.read(bytes), readClientHello(bytes))
})

const notHellos: readonly { readonly what: string; readonly bytes: Buffer }[] = [
  { what: 'HTTP', bytes: Buffer.from('GET / HTTP/1.1\r\n') },
  { what: 'an alert', bytes: Buffer.from([21, 3, 1, 0, 2, 2, 40]) },
  { what: 'SSL 2', bytes: Buffer.from([0x80, 0x2e, 1, 3, 1]) },
  { what: 'an empty record', bytes: Buffer.from([22, 3, 1, 0, 0]) },
  { what: 'another handshake message', bytes: Buffer.from([22, 3, 1, 0, 4, 2, 0, 0, 0]) },
  { what: 'one that is too long', bytes: Buffer.from([22, 3, 1, 0, 4, 1, 1, 0, 0]) },
  { what: 'one that is too short', bytes: Buffer.from([22, 3, 1, 0, 6, 1, 0, 0, 2, 3, 3]) },
]
for (const { what, bytes } of notHellos) {
  test(`no ClientHello: ${what}`, () => {
    assert.equal(readClientHello(bytes), undefined)
  })
}

test('damaged ones never throw, and what is read of them is bounded', async () => {
  const hello = await captureHello(TLS_1_3)
  const damage = fc.array(fc.tuple(fc.nat(hello.length - 1), fc.nat(255)), { maxLength: 8 })
  fc.assert(
    fc.property(damage, fc.nat(hello.length), (changes, length) => {
      const bytes = Buffer.from(hello)
      for (const [at, value] of changes) bytes[at] = value
      const result = readClientHello(bytes.subarray(0, length))
      if (result === undefined || result === 'incomplete') return
      assert.ok(result.sessionId.length <= 32)
      assert.ok(result.serverName.length < MAX_CLIENT_HELLO_BYTES)
    }),
    { numRuns: 20_000 },
  )
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      readClientHello(bytes)
    }),
    { numRuns: 20_000 },
  )
})
