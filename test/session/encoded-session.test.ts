// The reader of encoded sessions, against sessions of real servers and against everything malformed.

import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import { TlscachedError } from '../../src/base/errors.ts'
import { readEncodedSession, tryReadEncodedSession } from '../../src/session/encoded-session.ts'
import {
  element,
  encodeSession,
  explicit,
  integer,
  mandatoryFields,
  octets,
  SEQUENCE,
} from '../support/session-encoder.ts'
import { readSessionVectors } from '../support/session-vectors.ts'

const vectors = readSessionVectors()
const directory = new URL('../vectors/sessions/', import.meta.url)
const id = Buffer.alloc(32, 7)
const sessionWith = (...optional: Buffer[]) =>
  element(SEQUENCE, ...mandatoryFields({}), ...optional)

/** True when it parses, false when it throws the reader's own error; every other error fails the test. */
function isReadable(bytes: Uint8Array): boolean {
  try {
    readEncodedSession(bytes)
    return true
  } catch (error) {
    if (error instanceof TlscachedError && error.code === 'ERR_SESSION_FORMAT') return false
    throw error
  }
}

test('every stored session of the real servers has its section in parsed.txt', () => {
  const files = readdirSync(directory).filter((file) => file.endsWith('.der'))
  assert.deepEqual(vectors.map((vector) => vector.name).sort(), files.sort())
})

for (const { name, bytes, parsed } of vectors) {
  test(`${name} reads as OpenSSL reads it`, () => {
    const session = readEncodedSession(bytes)
    const text = (field: string) => String(parsed[field] ?? '')
    assert.equal(bytes.length, parsed['size'])
    assert.equal(session.protocolVersion, Number(parsed['ssl_version']))
    assert.equal(session.cipher, Number.parseInt(text('cipher'), 16))
    assert.equal(Buffer.from(session.id).toString('hex'), text('session_id'))
    assert.equal(
      Buffer.from(session.context).toString('hex'),
      text('session_id_context').split(' ')[0],
    )
    assert.equal(session.timeSec, parsed['time'])
    assert.equal(session.timeoutSec, parsed['timeout'])
    assert.equal(session.expiresAtSec, Number(parsed['time']) + Number(parsed['timeout']))
    assert.equal(session.serverName, text('hostname'))
    assert.equal(session.alpn, parsed['alpn_selected'])
    assert.equal(session.maxEarlyData, 0)
    assert.equal(session.hasPeerCertificate, 'peer' in parsed)
  })

  test(`${name} gives no way to its master key`, () => {
    const session = readEncodedSession(bytes)
    const key = Buffer.from(String(parsed['master_key']), 'hex')
    const views = [session.id, session.context].map((view) => Buffer.from(view))
    assert.ok(bytes.includes(key))
    assert.ok(views.every((view) => !view.includes(key)))
    assert.ok(!JSON.stringify(session).includes(key.toString('hex')))
  })

  test(`no part of ${name} passes for a session`, () => {
    for (let length = 0; length < bytes.length; length += 1) {
      assert.equal(isReadable(bytes.subarray(0, length)), false, `${length} bytes`)
    }
  })
}

test('a flipped bit ends in a session or in the own error, never in anything else', () => {
  let readable = 0
  let refused = 0
  for (const { bytes } of vectors.filter((vector) => vector.bytes.length < 200)) {
    for (let bit = 0; bit < bytes.length * 8; bit += 1) {
      const flipped = Buffer.from(bytes)
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      if (isReadable(flipped)) readable += 1
      else refused += 1
    }
  }
  // Most bits are content; those of tags and lengths must not pass.
  assert.ok(readable > refused && refused > 1000, `${readable} readable, ${refused} refused`)
})

test('random bytes end in the own error', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      isReadable(bytes)
      isReadable(Buffer.concat([Buffer.from([0x30, bytes.length & 0x7f]), bytes]))
    }),
    { numRuns: 2000, seed: 20_261 },
  )
})

test('what was encoded is read back', () => {
  const bytes = fc.uint8Array({ maxLength: 32 })
  const second = fc.integer({ min: 1, max: 2 ** 40 })
  const name = fc.stringMatching(/^[a-z0-9.-]{0,255}$/)
  fc.assert(
    fc.property(bytes, bytes, second, second, name, (ownId, context, timeSec, timeoutSec, own) => {
      const fields = { id: ownId, context, timeSec, timeoutSec, serverName: own, maxEarlyData: 3 }
      const session = readEncodedSession(encodeSession(fields))
      assert.deepEqual(
        { ...session, id: Buffer.from(session.id), context: Buffer.from(session.context) },
        {
          ...fields,
          id: Buffer.from(ownId),
          context: Buffer.from(context),
          protocolVersion: 0x0303,
          cipher: 0xc030,
          expiresAtSec: timeSec + timeoutSec,
          alpn: undefined,
          hasPeerCertificate: false,
        },
      )
    }),
    { numRuns: 300, seed: 20_262 },
  )
})

test('ID and context are views of the bytes given, not copies', () => {
  const bytes = encodeSession({ id, context: Buffer.from('shop') })
  const session = readEncodedSession(bytes)
  assert.equal(session.id.buffer, bytes.buffer)
  assert.equal(session.context.buffer, bytes.buffer)
})

test('fields left out have their absent value', () => {
  const session = readEncodedSession(sessionWith())
  assert.equal(session.context.length, 0)
  assert.equal(session.timeSec, undefined)
  assert.equal(session.timeoutSec, undefined)
  assert.equal(session.expiresAtSec, undefined)
  assert.equal(session.serverName, '')
  assert.equal(session.alpn, undefined)
  assert.equal(session.maxEarlyData, 0)
})

const context = element(explicit(4), octets('shop'))
const indefinite = (identifier: number, ...contents: Buffer[]) =>
  Buffer.concat([Buffer.from([identifier, 0x80]), ...contents, Buffer.alloc(2)])
const longLength = (identifier: number, content: Buffer) =>
  Buffer.concat([Buffer.from([identifier, 0x84, 0, 0, 0, content.length]), content])
const contextOf = (bytes: Buffer) => Buffer.from(readEncodedSession(bytes).context).toString()

const nested = (depth: number) => {
  let string = octets('shop')
  for (let level = 0; level < depth; level += 1) string = element(0x24, string)
  return sessionWith(element(explicit(4), string))
}

// Each form was tried on OpenSSL 3.0's d2i_SSL_SESSION, which takes all but the last two, too.
const lenient: [string, Buffer][] = [
  ['bytes after the session', Buffer.concat([sessionWith(context), Buffer.from('more')])],
  [
    'lengths longer than needed',
    sessionWith(longLength(0xa4, longLength(0x04, Buffer.from('shop')))),
  ],
  ['a structure of indefinite length', indefinite(0x30, ...mandatoryFields({}), context)],
  ['an explicit tag of indefinite length', sessionWith(indefinite(0xa4, octets('shop')))],
  ['a string in pieces', sessionWith(element(0xa4, element(0x24, octets('sh'), octets('op'))))],
  [
    'a string in pieces of indefinite length',
    sessionWith(indefinite(0xa4, indefinite(0x24, octets('s'), indefinite(0x24, octets('hop'))))),
  ],
  [
    'a tag number in a byte of its own',
    sessionWith(Buffer.concat([Buffer.from([0xbf, 0x04, 6]), octets('shop')])),
  ],
  ['pieces nested six deep', nested(6)],
  ['a tag that is not known', sessionWith(context, element(explicit(29), Buffer.from('any')))],
  [
    'a tag number of two bytes',
    sessionWith(context, Buffer.concat([Buffer.from([0xbf, 0x81, 0x04, 1, 0])])),
  ],
]
for (const [what, bytes] of lenient) {
  test(`${what}: read all the same`, () => assert.equal(contextOf(bytes), 'shop'))
}

const malformed: [string, Buffer][] = [
  ['nothing', Buffer.alloc(0)],
  ['no SEQUENCE', element(0x31, ...mandatoryFields({}))],
  ['a SEQUENCE without elements', element(0x10, ...mandatoryFields({}))],
  [
    'another version of the structure',
    element(SEQUENCE, integer(2), ...mandatoryFields({}).slice(1)),
  ],
  ['no TLS version', encodeSession({ protocolVersion: 0x0203 })],
  ['a session ID of 33 bytes', encodeSession({ id: Buffer.alloc(33) })],
  ['a context of 33 bytes', encodeSession({ context: Buffer.alloc(33) })],
  ['a field twice', sessionWith(context, context)],
  ['fields in disorder', sessionWith(context, element(explicit(2), integer(5)))],
  [
    'an explicit tag with two elements',
    sessionWith(element(explicit(4), octets('a'), octets('b'))),
  ],
  ['an explicit tag without content', sessionWith(element(explicit(4)))],
  ['an explicit tag around something else', sessionWith(element(explicit(4), integer(5)))],
  ['a time of 9 bytes', sessionWith(element(explicit(1), element(2, Buffer.alloc(9, 1))))],
  ['a time of no bytes', sessionWith(element(explicit(1), element(2)))],
  ['a length beyond the end', Buffer.from([0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 2, 1, 1])],
  ['a length of 126 bytes', Buffer.concat([Buffer.from([0x30, 0xfe]), Buffer.alloc(200, 0xff)])],
  ['an indefinite length without end', indefinite(0x30, ...mandatoryFields({})).subarray(0, -2)],
  ['an octet string of indefinite length', sessionWith(indefinite(0xa4, indefinite(0x04)))],
  ['a tag number without end', Buffer.alloc(100, 0xff)],
  ['pieces nested seven deep', nested(7)],
]
for (const [what, bytes] of malformed) {
  test(`${what}: refused`, () => {
    assert.equal(isReadable(bytes), false)
    assert.equal(tryReadEncodedSession(bytes), undefined)
  })
}

test('many nested structures of indefinite length cost no deep stack', () => {
  assert.equal(isReadable(Buffer.alloc(60_000, Buffer.from([0x30, 0x80]))), false)
})

test('numbers beyond the safe integers are held to them', () => {
  const timeOf = (hex: string) =>
    readEncodedSession(sessionWith(element(explicit(1), element(2, Buffer.from(hex, 'hex')))))
      .timeSec
  assert.equal(timeOf('7fffffffffffffff'), Number.MAX_SAFE_INTEGER)
  assert.equal(timeOf('8000000000000000'), Number.MIN_SAFE_INTEGER)
  assert.equal(timeOf('ff'), -1)
  assert.equal(timeOf('00ffffffff'), 0xffffffff)
  assert.equal(timeOf('00'), undefined)
})

test('a server name ends at a zero byte, as in OpenSSL', () => {
  const session = readEncodedSession(encodeSession({ serverName: 'shop.example\0.evil.example' }))
  assert.equal(session.serverName, 'shop.example')
})
