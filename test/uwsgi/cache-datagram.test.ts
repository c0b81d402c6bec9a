// uWSGI's cache-udp datagrams: those of real nodes, our own, and everything that is none.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  formatDelete,
  formatSet,
  MALFORMED_REASONS,
  type MalformedReason,
  parseCacheDatagram,
} from '../../src/uwsgi/datagram.ts'
import { craftDelete, craftSet } from '../support/cache-datagrams.ts'
import { readDatagrams } from '../support/uwsgi-vectors.ts'

const ID = Buffer.from(Array.from({ length: 32 }, (_, index) => 0xa0 + index))

test('sets of uWSGI are taken apart, and put together byte for byte', () => {
  for (const [file, value, expiresAtSec] of [
    ['cmd-set.txt', Buffer.alloc(40, 'V'), 1_795_208_607],
    ['cmd-update.txt', Buffer.alloc(50, 'U'), 1_795_208_368],
  ] as const) {
    const [datagram] = readDatagrams(file)
    assert.ok(datagram !== undefined)
    const expected = { kind: 'set', key: ID, value, expiresAtSec }
    assert.deepEqual(parseCacheDatagram(datagram), expected)
    assert.deepEqual(formatSet(ID, value, expiresAtSec), datagram)
  }
})

test('a set without an expiry, and one of a real session', () => {
  const [forever] = readDatagrams('cmd-set-noexpire.txt')
  assert.deepEqual(parseCacheDatagram(forever ?? Buffer.alloc(0)), {
    kind: 'set',
    key: Buffer.from('noexp'),
    value: Buffer.from('1'),
    expiresAtSec: 0,
  })
  const sessions = readDatagrams('tls1_2-router-new-session.txt')
  assert.equal(sessions.length, 2)
  for (const datagram of sessions) {
    const operation = parseCacheDatagram(datagram)
    assert.ok(typeof operation === 'object' && operation.kind === 'set')
    assert.deepEqual(formatSet(operation.key, operation.value, operation.expiresAtSec), datagram)
  }
})

test('with purge_lru the expiry of uWSGI is a lifetime', () => {
  const [datagram] = readDatagrams('router-purge_lru.txt')
  const operation = parseCacheDatagram(datagram ?? Buffer.alloc(0))
  assert.ok(typeof operation === 'object' && operation.kind === 'set')
  assert.equal(operation.expiresAtSec, 300)
})

test('deletes of uWSGI are taken apart; ours are two bytes longer, so that uWSGI takes them', () => {
  for (const file of ['cmd-del.txt', 'router-delete-alert.txt']) {
    const [datagram] = readDatagrams(file)
    assert.ok(datagram !== undefined)
    const operation = parseCacheDatagram(datagram)
    assert.ok(typeof operation === 'object' && operation.kind === 'delete')
    const ours = formatDelete(operation.key)
    assert.deepEqual(parseCacheDatagram(ours), operation)
    assert.equal(ours.length, datagram.length + 2)
    // Their receiver wants at least this many bytes behind the header.
    assert.ok(ours.readUInt16LE(1) >= operation.key.length + 4)
    assert.deepEqual(ours.subarray(4, datagram.length), datagram.subarray(4))
  }
})

const MALFORMED: readonly [reason: MalformedReason, datagram: Buffer][] = [
  ['short', Buffer.alloc(0)],
  ['short', craftSet({}).subarray(0, 5)],
  ['modifier', craftSet({ modifier1: 110 })],
  ['modifier', craftSet({ modifier2: 12 })],
  ['size', craftSet({ sizeError: 1 })],
  ['size', craftSet({ sizeError: -1 })],
  ['truncated', craftSet({ keyError: 1000 })],
  ['truncated', craftSet({ valueError: 1 })],
  ['truncated', craftSet({ expiry: '9', expiryError: 1 })],
  ['truncated', craftDelete({ key: 'k', modifier2: 10 })],
  ['trailing', craftSet({ expiry: '9', trailing: 'x' })],
  ['truncated', craftSet({ trailing: 'x' })],
  ['trailing', craftDelete({ trailing: 'x' })],
  ['trailing', craftDelete({ trailing: 'xyz' })],
  ['empty', craftSet({ key: '' })],
  ['empty', craftSet({ value: '' })],
  ['empty', craftDelete({ key: '' })],
  ['expiry', craftSet({ expiry: '-1' })],
  ['expiry', craftSet({ expiry: '1e9' })],
  ['expiry', craftSet({ expiry: ' 9' })],
  ['expiry', craftSet({ expiry: '12345678901' })],
]

for (const [index, [reason, datagram]] of MALFORMED.entries()) {
  test(`malformed ${index}: ${reason}`, () => {
    assert.equal(parseCacheDatagram(datagram), reason)
  })
}

test('every reason occurs', () => {
  assert.deepEqual(
    new Set(MALFORMED.map(([reason]) => reason)),
    new Set(Object.keys(MALFORMED_REASONS)),
  )
})

test('an item larger than a datagram is not encoded', () => {
  assert.equal(formatSet(ID, Buffer.alloc(65_507 - 32 - 20), 1_795_208_607)?.length, 65_507)
  assert.equal(formatSet(ID, Buffer.alloc(65_507 - 32 - 19), 1_795_208_607), undefined)
  assert.equal(formatSet(ID, Buffer.alloc(65_536), 0), undefined)
})

test('any bytes are an operation or a reason', () => {
  const bytes = fc.uint8Array({ maxLength: 80 })
  const header = fc.constantFrom([10], [11]).map(([kind = 0]) => kind)
  fc.assert(
    fc.property(bytes, header, fc.boolean(), (body, kind, hasHeader) => {
      const head = Buffer.from([111, body.length, 0, kind])
      const operation = parseCacheDatagram(
        hasHeader ? Buffer.concat([head, body]) : Buffer.from(body),
      )
      if (typeof operation === 'string') assert.ok(operation in MALFORMED_REASONS)
      else assert.ok(operation.key.length > 0)
    }),
    { numRuns: 2000 },
  )
})
