// Messages: what one node encodes the other decodes, and everything out of bounds is malformed.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import protobuf from 'protobufjs'
import { MAX_BLOCKSIZE, MAX_TIMEOUT_MS } from '../../src/store/limits.ts'
import { type Change, MAX_PUT_CLOCK, MAX_VERSION_CLOCK } from '../../src/store/versions.ts'
import { ChangeBatch } from '../../src/wire/changes.ts'
import {
  decodeMessage,
  encodeFragment,
  encodeGreeting,
  FRAGMENT_OVERHEAD_BYTES,
  GREETING_BYTES,
  MAX_FRAGMENTS,
  MAX_LONE_CHANGE_BYTES,
  MAX_NACK_RANGES,
  MAX_NACK_SEQUENCES,
} from '../../src/wire/message.ts'
import { anyBytes, anyChange, putsFirst, withBuffers } from '../support/changes.ts'

const OWN_ORIGIN = 77
const SENDER_ORIGIN = 99

/** The schema by itself, so that the tests can encode what the code never would. */
const schema = protobuf
  .loadSync(fileURLToPath(new URL('../../proto/replication.proto', import.meta.url)))
  .lookupType('tlscached.replication.Message')

function encode(message: Record<string, unknown>): Buffer {
  return Buffer.from(schema.encode(message).finish())
}

const change = anyChange(OWN_ORIGIN, fc.string({ unit: 'binary', maxLength: 60 }))

test('a batch decodes to the changes that went in, up to the order of puts and removes', () => {
  fc.assert(
    fc.property(
      fc.array(change, { minLength: 1, maxLength: 12 }),
      fc.integer({ min: 1, max: 2 ** 50 }),
      (changes, sent) => {
        const batch = new ChangeBatch(65_000, OWN_ORIGIN)
        for (const one of changes) assert.ok(batch.add(one))
        const decoded = decodeMessage(Buffer.from(batch.take(sent)), OWN_ORIGIN)
        assert.ok(decoded?.kind === 'changes')
        assert.equal(decoded.sentWallMs, sent)
        assert.deepEqual(putsFirst(decoded.changes), putsFirst(changes))
      },
    ),
    { numRuns: 200 },
  )
})

test('a change of the sender itself takes its origin from the sender', () => {
  const batch = new ChangeBatch(1000, OWN_ORIGIN)
  batch.add(remove({ version: { clock: 5, origin: OWN_ORIGIN } }))
  batch.add(remove({ version: { clock: 5, origin: 0 } }))
  const decoded = decodeMessage(batch.take(1), SENDER_ORIGIN)
  assert.ok(decoded?.kind === 'changes')
  assert.deepEqual(
    decoded.changes.map((one) => one.version.origin),
    [SENDER_ORIGIN, 0],
  )
})

test('a batch never becomes longer than allowed, takes nothing of what it refuses, and starts over', () => {
  fc.assert(
    fc.property(
      fc.array(change, { minLength: 1, maxLength: 30 }),
      fc.integer({ min: 60, max: 1400 }),
      (changes, maxBytes) => {
        const batch = new ChangeBatch(maxBytes, OWN_ORIGIN)
        const sent: Change[] = []
        for (const one of changes) {
          if (batch.add(one)) {
            sent.push(one)
            continue
          }
          assert.equal(batch.count, sent.length)
          if (batch.count === 0) continue
          const message = batch.take(1)
          assert.ok(message.length <= maxBytes)
          const decoded = decodeMessage(Buffer.from(message), OWN_ORIGIN)
          assert.ok(decoded?.kind === 'changes' && decoded.changes.length === sent.length)
          sent.length = 0
          assert.equal(batch.count, 0)
          if (batch.add(one)) sent.push(one)
        }
      },
    ),
    { numRuns: 200 },
  )
})

test('a batch keeps nothing of the bytes it was given', () => {
  const session = Buffer.from('as it was')
  const batch = new ChangeBatch(1000, OWN_ORIGIN)
  batch.add(put({ session }))
  session.fill(0)
  const decoded = decodeMessage(batch.take(1), OWN_ORIGIN)
  assert.ok(decoded?.kind === 'changes' && decoded.changes[0]?.kind === 'put')
  assert.equal(Buffer.from(decoded.changes[0].session).toString(), 'as it was')
})

test('a lifetime of less than a millisecond goes as one, a fraction is cut', () => {
  const batch = new ChangeBatch(1000, OWN_ORIGIN)
  for (const ttlMs of [0.2, 1500.9]) batch.add(remove({ ttlMs }))
  const decoded = decodeMessage(batch.take(1), OWN_ORIGIN)
  assert.ok(decoded?.kind === 'changes')
  assert.deepEqual(
    decoded.changes.map((one) => one.ttlMs),
    [1, 1500],
  )
})

test('the largest change fits the largest message', () => {
  const batch = new ChangeBatch(MAX_LONE_CHANGE_BYTES, OWN_ORIGIN)
  const largest = put({
    cache: 'c'.repeat(63),
    id: Buffer.alloc(255, 1),
    context: Buffer.alloc(32, 1),
    serverName: 's'.repeat(255),
    session: Buffer.alloc(MAX_BLOCKSIZE, 1),
    ttlMs: MAX_TIMEOUT_MS,
    version: { clock: MAX_PUT_CLOCK, origin: 2 ** 48 - 1 },
  })
  assert.ok(batch.add(largest))
  const decoded = decodeMessage(batch.take(2 ** 45), OWN_ORIGIN)
  assert.ok(decoded?.kind === 'changes')
  assert.deepEqual(decoded.changes.map(withBuffers), [largest])
})

test('a fragment adds at most as much as the constant says', () => {
  for (const [index, count, size] of [
    [0, 2, 1],
    [MAX_FRAGMENTS - 1, MAX_FRAGMENTS, 60_000],
    [1, 2, 1338],
  ] as const) {
    const chunk = Buffer.alloc(size, 3)
    const message = encodeFragment({ index, count, chunk })
    assert.ok(message.length - size <= FRAGMENT_OVERHEAD_BYTES)
    assert.deepEqual(decodeMessage(message, 0), { kind: 'fragment', index, count, chunk })
  }
})

test('all greetings are of one size, with and without challenge, answer and a long name', () => {
  const challenge = Buffer.alloc(16, 1)
  const answer = Buffer.alloc(16, 2)
  for (const greeting of [
    {
      challenge,
      answer,
      changesSequence: 2 ** 48 - 1,
      sentWallMs: 2 ** 41,
      nodeName: 'n'.repeat(128),
    },
    { challenge, answer: undefined, changesSequence: 0, sentWallMs: 7, nodeName: 'a' },
    { challenge: undefined, answer, changesSequence: 1, sentWallMs: 1, nodeName: 'ü'.repeat(64) },
    {
      challenge: undefined,
      answer: undefined,
      changesSequence: 9,
      sentWallMs: 9,
      nodeName: 'edge',
    },
  ]) {
    const message = encodeGreeting(greeting)
    assert.equal(message.length, GREETING_BYTES)
    assert.deepEqual(decodeMessage(message, 0), { kind: 'greeting', ...greeting })
  }
})

const wirePut = {
  cache: 0,
  id: Buffer.from('id'),
  context: Buffer.from('c'),
  serverName: 's',
  session: Buffer.from('session'),
  ttlMs: 1000,
  clock: 5,
}
const wireGreeting = { changesSequence: 1, sentWallMs: 1, nodeName: 'edge' }
const changesWith = (fields: object) => ({
  changes: { sentWallMs: 1, caches: ['ssl'], puts: [wirePut], ...fields },
})
const putWith = (fields: object) => changesWith({ puts: [{ ...wirePut, ...fields }] })
const removeWith = (fields: object) =>
  changesWith({ puts: [], removes: [{ cache: 0, id: wirePut.id, ttlMs: 1, clock: 1, ...fields }] })
const fragmentWith = (fields: object) => ({
  fragment: { index: 0, count: 2, chunk: Buffer.from('x'), ...fields },
})
const greetingWith = (fields: object) => ({ greeting: { ...wireGreeting, ...fields } })
const wireNack = { bootId: Buffer.alloc(8, 1), ranges: [{ from: 1, count: 1 }] }
const nackWith = (fields: object) => ({ nack: { ...wireNack, ...fields } })
const rangeWith = (fields: object) => nackWith({ ranges: [{ from: 1, count: 1, ...fields }] })

const wellFormed: readonly [string, Record<string, unknown>][] = [
  ['a put', putWith({})],
  ['a put without context and server name', putWith({ context: undefined, serverName: undefined })],
  ['a remove', removeWith({})],
  ['a fragment', fragmentWith({})],
  ['a greeting', greetingWith({})],
  ['a greeting before the first change', greetingWith({ changesSequence: undefined })],
  ['a heartbeat', { heartbeat: { changesSequence: 2 ** 48 - 1 } }],
  ['a NACK', nackWith({})],
  ['a NACK of the last number', rangeWith({ from: 2 ** 48 - 1 })],
  ['a NACK of as many numbers as there may be', rangeWith({ count: MAX_NACK_SEQUENCES })],
  ['a gone', { gone: { changesSequence: 1 } }],
]

for (const [name, message] of wellFormed) {
  test(`well formed: ${name}`, () => {
    assert.ok(decodeMessage(encode(message), SENDER_ORIGIN) !== undefined)
  })
}

const malformed: readonly [string, Buffer | Record<string, unknown>][] = [
  ['nothing', Buffer.alloc(0)],
  ['an unknown body', Buffer.from('7a00', 'hex')],
  ['an empty body', Buffer.from('0a00', 'hex')],
  ['a body that is a number', Buffer.from('0805', 'hex')],
  ['a body cut off', encode(putWith({})).subarray(0, -1)],
  ['bytes behind the body', Buffer.concat([encode(putWith({})), Buffer.from([0xff])])],
  ['a length of 4 GiB', Buffer.from('0affffffff0f', 'hex')],
  ['a group', Buffer.from('0b0c', 'hex')],
  ['no changes', changesWith({ puts: [] })],
  ['no time of sending', changesWith({ sentWallMs: undefined })],
  ['a time of sending beyond safe integers', changesWith({ sentWallMs: 2 ** 60 })],
  ['a cache name with a slash', changesWith({ caches: ['a/b'] })],
  ['an empty cache name', changesWith({ caches: [''] })],
  ['a cache name too long', changesWith({ caches: ['a'.repeat(64)] })],
  ['no cache names', changesWith({ caches: [] })],
  ['a cache that is not in the table', putWith({ cache: 1 })],
  ['the greatest cache index', removeWith({ cache: 2 ** 32 - 1 })],
  ['no id', putWith({ id: undefined })],
  ['no id to remove', removeWith({ id: undefined })],
  ['an id too long', putWith({ id: Buffer.alloc(256) })],
  ['a context too long', putWith({ context: Buffer.alloc(33) })],
  ['a server name too long', putWith({ serverName: 'ü'.repeat(128) })],
  ['no session', putWith({ session: undefined })],
  ['a session too long', putWith({ session: Buffer.alloc(MAX_BLOCKSIZE + 1) })],
  ['no lifetime', putWith({ ttlMs: undefined })],
  ['no lifetime of a removal', removeWith({ ttlMs: undefined })],
  ['a lifetime too long', putWith({ ttlMs: MAX_TIMEOUT_MS + 1 })],
  ['no clock', putWith({ clock: undefined })],
  ['clock 0', putWith({ clock: 0 })],
  ['a put with a clock that only a removal may have', putWith({ clock: MAX_VERSION_CLOCK })],
  ['a removal with a clock too far ahead', removeWith({ clock: MAX_VERSION_CLOCK + 1 })],
  ['a clock beyond safe integers', removeWith({ clock: 2 ** 63 })],
  ['an origin too great', putWith({ origin: 2 ** 48 })],
  ['one bad entry among good ones', changesWith({ puts: [wirePut, { ...wirePut, ttlMs: 0 }] })],
  ['a fragment alone', fragmentWith({ count: 1 })],
  ['a fragment without count', fragmentWith({ count: undefined })],
  ['a fragment beyond the count', fragmentWith({ index: 2 })],
  ['too many fragments', fragmentWith({ count: MAX_FRAGMENTS + 1 })],
  ['a fragment without chunk', fragmentWith({ chunk: undefined })],
  ['a piece alone', { piece: { sequence: 1, index: 0, count: 1, chunk: Buffer.alloc(9) } }],
  ['a piece of no datagram', { piece: { index: 0, count: 2, chunk: Buffer.alloc(9) } }],
  ['a piece without chunk', { piece: { sequence: 1, index: 0, count: 2 } }],
  ['a short challenge', greetingWith({ challenge: Buffer.alloc(15) })],
  ['a long answer', greetingWith({ answer: Buffer.alloc(17) })],
  ['a greeting with a sequence too great', greetingWith({ changesSequence: 2 ** 48 })],
  ['a greeting without time', greetingWith({ sentWallMs: undefined })],
  ['a greeting without a name', greetingWith({ nodeName: undefined })],
  ['a greeting with a name too long', greetingWith({ nodeName: 'n'.repeat(129) })],
  ['a heartbeat without sequence', { heartbeat: {} }],
  ['a heartbeat before the first change', { heartbeat: { changesSequence: 0 } }],
  ['a heartbeat with a sequence too great', { heartbeat: { changesSequence: 2 ** 48 } }],
  ['a gone without sequence', { gone: {} }],
  ['a NACK to nobody', nackWith({ bootId: undefined })],
  ['a NACK with a short boot ID', nackWith({ bootId: Buffer.alloc(7) })],
  ['a NACK with a long boot ID', nackWith({ bootId: Buffer.alloc(9) })],
  ['a NACK of nothing', nackWith({ ranges: [] })],
  [
    'a NACK of too many ranges',
    nackWith({ ranges: Array(MAX_NACK_RANGES + 1).fill(wireNack.ranges[0]) }),
  ],
  ['a range from nowhere', rangeWith({ from: undefined })],
  ['a range from 0', rangeWith({ from: 0 })],
  ['a range of nothing', rangeWith({ count: 0 })],
  ['a range beyond the last number', rangeWith({ from: 2 ** 48 - 1, count: 2 })],
  ['a range too long', rangeWith({ count: MAX_NACK_SEQUENCES + 1 })],
  [
    'ranges too long together',
    nackWith({
      ranges: [
        { from: 1, count: 300 },
        { from: 1, count: 213 },
      ],
    }),
  ],
]

for (const [name, message] of malformed) {
  test(`malformed: ${name}`, () => {
    const encoded = Buffer.isBuffer(message) ? message : encode(message)
    assert.equal(decodeMessage(encoded, SENDER_ORIGIN), undefined)
  })
}

test('text that is not UTF-8 is malformed', () => {
  const encoded = encode(putWith({ serverName: 'QQQQ' }))
  encoded.fill(0xff, encoded.indexOf('QQQQ'), encoded.indexOf('QQQQ') + 4)
  assert.equal(decodeMessage(encoded, SENDER_ORIGIN), undefined)
})

test('a known field of another wire type is malformed, not its default', () => {
  // cache, id, context, server_name, session, ttl_ms, clock, origin: each as the type it has not.
  for (let fieldNumber = 1; fieldNumber <= 8; fieldNumber += 1) {
    const wrong =
      fieldNumber === 1 || fieldNumber === 6 ? [fieldNumber * 8 + 2, 0] : [fieldNumber * 8, 1]
    assert.equal(decodeMessage(putPlus(wrong), SENDER_ORIGIN), undefined, `field ${fieldNumber}`)
  }
})

test('a field that a later version may add is skipped', () => {
  const decoded = decodeMessage(putPlus([15 * 8 + 2, 1, 42]), SENDER_ORIGIN)
  assert.ok(decoded?.kind === 'changes' && decoded.changes.length === 1)
})

/** A message with one put that has these bytes behind its fields. */
function putPlus(extra: number[]): Buffer {
  const type = schema.root.lookupType('tlscached.replication.Put')
  const encoded = Buffer.concat([Buffer.from(type.encode(wirePut).finish()), Buffer.from(extra)])
  const lead = encode({ changes: { sentWallMs: 1, caches: ['ssl'] } }).subarray(2)
  const body = Buffer.concat([lead, Buffer.from([0x1a, encoded.length]), encoded])
  return Buffer.concat([Buffer.from([0x0a, body.length]), body])
}

test('no bytes whatever make decoding throw', () => {
  const start = encode(putWith({}))
  fc.assert(
    fc.property(anyBytes(0, 64), fc.nat(start.length), (random, at) => {
      decodeMessage(random, 0)
      const mixed = Buffer.concat([start.subarray(0, at), random, start.subarray(at)])
      decodeMessage(mixed, 0)
    }),
    { numRuns: 5000 },
  )
})

function put(fields: Partial<Change & { kind: 'put' }>): Change {
  return {
    kind: 'put',
    cache: 'ssl',
    id: Buffer.from('id'),
    context: Buffer.alloc(0),
    serverName: '',
    session: Buffer.from('session'),
    ttlMs: 1000,
    version: { clock: 1, origin: OWN_ORIGIN },
    ...fields,
  }
}

function remove(fields: Partial<Change & { kind: 'remove' }>): Change {
  return {
    kind: 'remove',
    cache: 'ssl',
    id: Buffer.from('id'),
    ttlMs: 1000,
    version: { clock: 1, origin: OWN_ORIGIN },
    ...fields,
  }
}
