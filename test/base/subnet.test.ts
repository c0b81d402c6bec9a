// Ranges of addresses: their forms, what lies in them, and what is refused.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createAddressMatcher, parseSubnet } from '../../src/base/address.ts'

test('a range has a prefix length, or is one address', () => {
  assert.deepEqual(parseSubnet('192.0.2.0/24'), { host: '192.0.2.0', prefixBits: 24 })
  assert.deepEqual(parseSubnet('192.0.2.7'), { host: '192.0.2.7', prefixBits: 32 })
  assert.deepEqual(parseSubnet('2001:db8::/32'), { host: '2001:db8::', prefixBits: 32 })
  assert.deepEqual(parseSubnet('::1'), { host: '::1', prefixBits: 128 })
})

const WRONG = ['', 'x', '192.0.2.0/33', '192.0.2/24', '2001:db8::/129', '::1%lo', '1.1.1.1/', '/8']
for (const text of WRONG) {
  test(`"${text}" is no range`, () => {
    assert.throws(() => parseSubnet(text), { code: 'ERR_ADDRESS' })
  })
}

test('an address lies in one of several ranges of both families, also as IPv4 inside IPv6', () => {
  const isIn = createAddressMatcher(['10.0.0.7/8', '2001:db8::/32'].map(parseSubnet))
  const inside = ['10.0.0.0', '10.255.255.255', '::ffff:10.1.2.3', '2001:db8::1']
  const outside = ['11.0.0.0', '::ffff:11.0.0.0', '2001:db9::1', '::1', '', 'localhost']
  assert.deepEqual(inside.map(isIn), [true, true, true, true])
  assert.deepEqual(outside.filter(isIn), [])
  assert.equal(createAddressMatcher([])('10.0.0.1'), false)
})
