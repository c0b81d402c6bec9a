// The identity of a node: its node ID follows from the name, its boot ID is new at each start.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createIdentity, MAX_NODE_NAME_BYTES, originOf } from '../../src/wire/identity.ts'
import { seededBytes } from '../support/seeded-random.ts'

test('a node keeps its sender ID over boots and gets a new boot ID and origin', () => {
  const random = seededBytes('identity')
  const first = createIdentity('edge-1', random)
  const second = createIdentity('edge-1', random)
  const other = createIdentity('edge-2', random)
  assert.deepEqual(second.senderId, first.senderId)
  assert.notDeepEqual(other.senderId, first.senderId)
  assert.notDeepEqual(second.bootId, first.bootId)
  assert.notEqual(second.origin, first.origin)
  assert.equal(first.senderId.length, 8)
  assert.equal(first.bootId.length, 8)
})

test('the origin is a safe integer whatever the boot ID', () => {
  assert.equal(originOf(Buffer.alloc(8, 0xff)), 2 ** 48 - 1)
  assert.equal(originOf(Buffer.from('0000000000010000', 'hex')), 1)
})

test('a long name is cut between characters for display, and still tells nodes apart', () => {
  const random = seededBytes('names')
  const long = 'ü'.repeat(64)
  const a = createIdentity(`${long}xa`, random)
  const b = createIdentity(`${long}xb`, random)
  assert.equal(a.nodeName, long)
  assert.equal(Buffer.byteLength(a.nodeName), MAX_NODE_NAME_BYTES)
  assert.notDeepEqual(a.senderId, b.senderId)
  assert.equal(createIdentity(`x${long}`, random).nodeName, `x${'ü'.repeat(63)}`)
})
