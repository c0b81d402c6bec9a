// What is read straight from the bytes is what the general decoder reads from them; what lies otherwise is left to it.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Change, MAX_VERSION_CLOCK } from '../../src/store/versions.ts'
import { ChangeBatch, readChanges } from '../../src/wire/changes.ts'
import { MAX_ORIGIN } from '../../src/wire/identity.ts'
import { decodeMessage } from '../../src/wire/message.ts'
import { anyChange, putsFirst, withBuffers } from '../support/changes.ts'

const ORIGIN = 77
/** A field of Message that nobody knows: no batch ends in one, and the general decoder passes over it. */
const UNKNOWN_FIELD = Buffer.from([0xa8, 0x01, 0x00])

const change = anyChange(ORIGIN, fc.string({ unit: 'grapheme-ascii', maxLength: 255 }))
const changes = fc.array(change, { minLength: 1, maxLength: 6 })

function messageOf(batched: readonly Change[]): Buffer {
  const batch = new ChangeBatch(65_000, ORIGIN)
  for (const change of batched) assert.ok(batch.add(change))
  return Buffer.from(batch.take(1_700_000_000_000))
}

function decodeGenerally(message: Buffer) {
  return decodeMessage(Buffer.concat([message, UNKNOWN_FIELD]), ORIGIN)
}

test('what a batch wrote is read straight, in its order', () => {
  fc.assert(
    fc.property(changes, (batched) => {
      const read = readChanges(messageOf(batched), ORIGIN)
      assert.equal(read?.sentWallMs, 1_700_000_000_000)
      assert.deepEqual(read.changes.map(withBuffers), batched.map(withBuffers))
    }),
    { numRuns: 300 },
  )
})

test('bytes that were changed, cut off or inserted are refused, or read as the general decoder reads them', () => {
  let readable = 0
  const at = fc.nat({ max: 4000 })
  const edit = fc.oneof(
    fc.record({ kind: fc.constant('set' as const), at, byte: fc.nat({ max: 255 }) }),
    fc.record({ kind: fc.constant('insert' as const), at, byte: fc.nat({ max: 255 }) }),
    fc.record({ kind: fc.constant('cut' as const), at }),
  )
  fc.assert(
    fc.property(changes, fc.array(edit, { minLength: 1, maxLength: 3 }), (batched, edits) => {
      const edited = [...messageOf(batched)]
      for (const one of edits) {
        const index = one.at % edited.length
        if (one.kind === 'cut') edited.splice(index)
        else edited.splice(index, one.kind === 'set' ? 1 : 0, one.byte)
        if (edited.length === 0) edited.push(0)
      }
      const message = Buffer.from(edited)
      const read = readChanges(message, ORIGIN)
      if (read === undefined) return
      readable += 1
      const decoded = decodeGenerally(message)
      assert.ok(decoded?.kind === 'changes')
      assert.equal(read.sentWallMs, decoded.sentWallMs)
      assert.deepEqual(putsFirst(read.changes), putsFirst(decoded.changes))
    }),
    { numRuns: 3000 },
  )
  assert.ok(readable > 100, `${readable} were still readable`)
})

/** An entry under tag `kind` of a message with one cache; its fields as given. */
function handmade(kind: number, ...fields: readonly (readonly number[])[]): Buffer {
  const entryBytes = fields.flat()
  const body = [0x12, 1, 0x61, kind, entryBytes.length, ...entryBytes, 0x09, ...fixed64(5)]
  return Buffer.from([0x0a, body.length, ...body])
}

function fixed64(value: number): number[] {
  const written = Buffer.alloc(8)
  written.writeBigUInt64LE(BigInt(value))
  return [...written]
}

const PUT = 0x1a
const REMOVE = 0x22
const ID = [0x12, 1, 7]
const SESSION = [0x2a, 2, 8, 9]
const TTL = [0x30, 100]
const CLOCK = [0x39, ...fixed64(6)]

const CASES: readonly [
  name: string,
  message: Buffer,
  expected: 'read' | 'decoded' | 'malformed',
][] = [
  ['a put', handmade(PUT, ID, SESSION, TTL, CLOCK), 'read'],
  ['a remove', handmade(REMOVE, ID, TTL, CLOCK), 'read'],
  [
    'a lifetime in five bytes',
    handmade(PUT, ID, SESSION, [0x30, 0x80, 0x80, 0x80, 0x80, 1], CLOCK),
    'read',
  ],
  [
    'a lifetime in more bytes than it needs',
    handmade(PUT, ID, SESSION, [0x30, 0xe4, 0], CLOCK),
    'read',
  ],
  ['fields in another order', handmade(PUT, SESSION, ID, TTL, CLOCK), 'decoded'],
  ['a field twice', handmade(PUT, ID, ID, SESSION, TTL, CLOCK), 'decoded'],
  ['an unknown field', handmade(PUT, ID, SESSION, TTL, CLOCK, [0x7a, 0]), 'decoded'],
  [
    'a server name in UTF-8',
    handmade(PUT, ID, [0x22, 2, 0xc3, 0xbc], SESSION, TTL, CLOCK),
    'decoded',
  ],
  ['a session in a remove', handmade(REMOVE, ID, SESSION, TTL, CLOCK), 'decoded'],
  [
    'a lifetime in six bytes',
    handmade(PUT, ID, SESSION, [0x30, 0xe4, 0x80, 0x80, 0x80, 0x80, 0], CLOCK),
    'decoded',
  ],
  ['no ID', handmade(PUT, SESSION, TTL, CLOCK), 'malformed'],
  ['no session', handmade(PUT, ID, TTL, CLOCK), 'malformed'],
  ['no lifetime', handmade(PUT, ID, SESSION, CLOCK), 'malformed'],
  ['no version', handmade(PUT, ID, SESSION, TTL), 'malformed'],
  ['a cache that is not named', handmade(PUT, [0x08, 1], ID, SESSION, TTL, CLOCK), 'malformed'],
  [
    'a context longer than its entry',
    handmade(PUT, ID, [0x1a, 32, 1], SESSION, TTL, CLOCK),
    'malformed',
  ],
  ['a session longer than the message', handmade(PUT, ID, [0x2a, 127, 1], TTL, CLOCK), 'malformed'],
  [
    'a clock that ends behind its entry',
    handmade(PUT, ID, SESSION, TTL, CLOCK.slice(0, 6)),
    'malformed',
  ],
  [
    'a put with a clock of 2^52',
    handmade(PUT, ID, SESSION, TTL, [0x39, ...fixed64(MAX_VERSION_CLOCK)]),
    'malformed',
  ],
  [
    'an origin beyond 2^48',
    handmade(PUT, ID, SESSION, TTL, CLOCK, [0x41, ...fixed64(MAX_ORIGIN + 1)]),
    'malformed',
  ],
]

for (const [name, message, expected] of CASES) {
  test(`${name}: ${expected}`, () => {
    assert.equal(readChanges(message, ORIGIN) !== undefined, expected === 'read')
    assert.equal(decodeMessage(message, ORIGIN)?.kind === 'changes', expected !== 'malformed')
  })
}

test('contexts that are the same are one array, and do not reach into another message', () => {
  const entry = {
    kind: 'put' as const,
    cache: 'ssl',
    context: Buffer.from('shop'),
    serverName: '',
    session: Buffer.from('session'),
    ttlMs: 1000,
    version: { clock: 1, origin: ORIGIN },
  }
  const first = { ...entry, id: Buffer.from('1') }
  const second = { ...entry, id: Buffer.from('2') }
  const read = readChanges(messageOf([first, second]), ORIGIN)?.changes
  assert.ok(read?.[0]?.kind === 'put' && read[1]?.kind === 'put')
  assert.equal(read[0].context, read[1].context)
  const other = readChanges(messageOf([first]), ORIGIN)?.changes[0]
  assert.ok(other?.kind === 'put' && other.context !== read[0].context)
})
