// The session ID context: text and bytes, and the limit of 32 bytes.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkContext, isSameBytes, toContext } from '../../src/session/encoded-session.ts'

const accepted: [string, string | Uint8Array, string][] = [
  ['empty text', '', ''],
  ['text', 'shop', '73686f70'],
  ['text beyond ASCII, as UTF-8', 'ä', 'c3a4'],
  ['bytes', Uint8Array.of(0, 255), '00ff'],
  ['32 bytes', 'x'.repeat(32), '78'.repeat(32)],
]
for (const [what, value, hex] of accepted) {
  test(`context of ${what}`, () => assert.equal(toContext(value).toString('hex'), hex))
}

const refused: [string, string | Uint8Array, RegExp][] = [
  ['33 characters', 'x'.repeat(33), /at most 32 bytes, this one has 33/],
  ['17 characters of 2 bytes', 'ä'.repeat(17), /at most 32 bytes, this one has 34/],
  ['33 bytes', new Uint8Array(33), /at most 32 bytes, this one has 33/],
]
for (const [what, value, message] of refused) {
  test(`a context of ${what} is refused, not cut off`, () => {
    assert.throws(() => toContext(value), { code: 'ERR_CONTEXT', message })
    const bytes = Buffer.from(value)
    assert.throws(() => checkContext(bytes), { code: 'ERR_CONTEXT', message })
  })
}

test('contexts are the same only when all bytes are', () => {
  const of = (text: string) => Buffer.from(text)
  assert.equal(isSameBytes(of('shop'), of('shop')), true)
  assert.equal(isSameBytes(of(''), of('')), true)
  assert.equal(isSameBytes(of('shop'), of('shoq')), false)
  assert.equal(isSameBytes(of('shop'), of('sho')), false)
  assert.equal(isSameBytes(of(''), of('s')), false)
})
