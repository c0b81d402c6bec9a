// Under which ID, and in which form, the cache stores memcached's keys and values.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type KeyForm, spelledIds, toSessionKey } from '../../src/frontends/memcached/keys.ts'
import {
  fromStored,
  maxValueBytes,
  toStored,
  toStoredValue,
} from '../../src/frontends/memcached/values.ts'
import { encodeSession } from '../support/session-encoder.ts'

const id = Buffer.from(Array.from({ length: 32 }, (_value, index) => index * 8 + 3))
const hex = id.toString('hex')
const base64url = id.toString('base64url')
const session = encodeSession({ id })

const RECOGNISED: readonly [key: string, form: KeyForm, id: Buffer][] = [
  [`mod_ssl-sess:${hex}`, 'session', id],
  [`nghttpx:tls-session-cache:${hex}`, 'session', id],
  [`nginx:tls-session:${hex}`, 'session', id],
  [`h2o:ssl-session-cache:${base64url}`, 'base64url_session', id],
  ['mod_ssl-sess:00', 'session', Buffer.from([0])],
]

for (const [key, form, expected] of RECOGNISED) {
  test(`${key.slice(0, 30)} is the session's own ID`, () => {
    const entryKey = toSessionKey(Buffer.from(key))
    assert.equal(entryKey?.form, form)
    assert.deepEqual(Buffer.from(entryKey?.id ?? []), expected)
  })
}

const PLAIN = [
  'a',
  'mod_ssl-sess:',
  'mod_ssl-sess:0',
  'mod_ssl-sess:0g',
  `mod_ssl-sess:${hex.toUpperCase()}`,
  `mod_ssl-sess:${hex}00`,
  `mod_ssl-staple:${hex.slice(0, 40)}`,
  'nghttpx:tls-ticket-key',
  'h2o:session-tickets',
  `h2o:ssl-session-cache:${base64url}=`,
  'h2o:ssl-session-cache:A',
  `h2o:ssl-session-cache:${Buffer.alloc(33).toString('base64url')}`,
  hex,
]

for (const key of PLAIN) {
  test(`${key.slice(0, 40)} is of no known program`, () => {
    assert.equal(toSessionKey(Buffer.from(key)), undefined)
  })
}

const base64 = id.toString('base64')
const SPELLED: readonly [key: string, ids: readonly Buffer[]][] = [
  [hex, [id]],
  [hex.toUpperCase(), [id]],
  [`sess:${hex}`, [id]],
  [`SSL_${hex.toUpperCase()}.v2`, [id]],
  [`${hex}/shop`, [id]],
  [base64, [id]],
  [`ssl|${base64}`, [id]],
  [`ssl|${base64url}|x`, [id]],
  // Digits beside an ID: it is the last or the first ones.
  [`cafe${hex}`, [id, Buffer.from(`cafe${hex}`.slice(0, 64), 'hex')]],
  // Only the part of the key that spells an ID is read.
  [`sess_${base64url}`, [id]],
  ['a'.repeat(42), []],
  [hex.slice(1), []],
  [`sess:${hex.slice(0, 40)}`, []],
  ['a-key-with-words-and-dashes-that-is-longer-than-any-id', []],
]

for (const [key, ids] of SPELLED) {
  test(`${key.slice(0, 40)} may contain ${ids.length} IDs`, () => {
    const found = spelledIds(Buffer.from(key))
    for (const one of ids) assert.ok(found.some((other) => other.equals(one)))
    assert.ok(found.length <= Math.max(ids.length, 1))
    if (ids.length === 0) assert.deepEqual(found, [])
  })
}

test('any value comes back with its flags, and others see its bytes where they can', () => {
  const forms = fc.constantFrom<'session' | 'base64url_session'>('session', 'base64url_session')
  const mark = fc
    .uint8Array({ maxLength: 12 })
    .map((rest) => Buffer.from([0, 0x6d, 0x63, 0x66, ...rest]))
  const data = fc.oneof(
    fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
    mark,
  )
  const flags = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff_ffff }))
  fc.assert(
    fc.property(forms, flags, data, (form, flags, data) => {
      const stored = toStored(form, { flags, data })
      assert.deepEqual(stored, toStoredValue({ flags, data }))
      assert.ok(stored !== undefined && stored.length > 0)
      assert.deepEqual(fromStored(form, stored), { flags, data })
      const isPlain = flags === 0 && data.length > 0 && data.readUInt8(0) !== 0
      if (isPlain) assert.deepEqual(stored, data)
    }),
  )
})

test('a session is stored as its DER, however it is written', () => {
  const text = Buffer.from(session.toString('base64url'))
  assert.deepEqual(toStored('session', { flags: 0, data: session }), session)
  assert.deepEqual(toStored('base64url_session', { flags: 0, data: text }), session)
  assert.deepEqual(fromStored('session', session), { flags: 0, data: session })
  assert.deepEqual(fromStored('base64url_session', session), { flags: 0, data: text })
})

test('a session that is not what its key says is refused', () => {
  const text = Buffer.from(session.toString('base64url'))
  assert.equal(toStored('session', { flags: 1, data: session }), undefined)
  assert.equal(toStored('base64url_session', { flags: 1, data: text }), undefined)
  assert.equal(toStored('base64url_session', { flags: 0, data: session }), undefined)
})

test('the largest session fits in base64url', () => {
  for (const blocksize of [1, 2, 3, 4096, 65_536]) {
    const text = Buffer.alloc(blocksize).toString('base64url')
    assert.ok(text.length <= maxValueBytes(blocksize))
  }
})
