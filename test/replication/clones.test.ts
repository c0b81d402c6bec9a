// Two copies of one machine go on with the same keys, boot and sequence numbers, as after a snapshot was restored: in
// form 2 they never seal two different datagrams under one nonce.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createIdentity } from '../../src/wire/identity.ts'
import { Sealer } from '../../src/wire/seal.ts'
import { addressOf, MemoryCluster } from '../support/memory-cluster.ts'
import { TEST_KEYS } from '../support/replication-node.ts'
import { seededBytes, seededNumbers } from '../support/seeded-random.ts'
import { headerOf, ofKind } from '../support/wiretap.ts'

const DATAGRAMS = 1000

/** Pairs of different datagrams of two copies under one nonce. */
function meetings(form: 1 | 2): { equal: number; different: number } {
  const copies = [1, 2].map(
    () => new Sealer(createIdentity('copied', seededBytes('boot')), TEST_KEYS, form),
  )
  const byNonce = new Map<string, Buffer>()
  const count = { equal: 0, different: 0 }
  for (const [copy, sealer] of copies.entries()) {
    for (let number = 0; number < DATAGRAMS; number += 1) {
      const channel = number % 3 === 0 ? 'control' : 'changes'
      // Every tenth message is the same in both.
      const text = number % 10 === 0 ? `both ${number}` : `copy ${copy} ${number}`
      const datagram = sealer.seal(channel, Buffer.from(text))
      const nonceOf1 = Buffer.concat([datagram.subarray(3, 4), datagram.subarray(24, 32)])
      const nonce = (form === 1 ? nonceOf1 : datagram.subarray(32, 44)).toString('hex')
      const other = byNonce.get(nonce)
      if (other?.equals(datagram)) count.equal += 1
      else if (other !== undefined) count.different += 1
      byNonce.set(nonce, datagram)
    }
  }
  return count
}

test('only equal datagrams of two copies meet under one nonce', () => {
  assert.deepEqual(meetings(2), { equal: DATAGRAMS / 10, different: 0 })
  // What form 2 is for.
  assert.deepEqual(meetings(1), { equal: DATAGRAMS / 10, different: (DATAGRAMS * 9) / 10 })
})

test('nodes that seal in form 2 and nodes that do not yet understand each other, under loss', async () => {
  const cluster = new MemoryCluster({ random: seededNumbers('forms'), loss: 0.1, delayMs: 2 })
  const members = [1, 2, 3].map((number) =>
    cluster.member(number, 3, { minimumVersion: number === 3 ? 1 : 2 }),
  )
  for (const member of members) await member.replicator.start()
  cluster.clock.advance(10_000)
  for (let number = 0; number < 100; number += 1) {
    for (const member of members) member.put(`${member.identity.nodeName} ${number}`, number + 1)
    cluster.clock.advance(1)
  }
  members[0]?.put('large', 1000, { session: Buffer.alloc(9000, 1) })
  cluster.clock.advance(5000)
  assert.deepEqual(
    members.map(({ newest }) => newest.size),
    [200, 201, 201],
  )
  const forms = new Set(
    cluster.network.sent.map((passed) => `${passed.from.host} ${headerOf(passed).form}`),
  )
  assert.deepEqual([...forms].sort(), ['10.0.0.1 2', '10.0.0.2 2', '10.0.0.3 1'])
  for (const { datagram } of ofKind(cluster.network.sent, 'greeting')) {
    assert.equal(datagram.length, 448)
  }
  assert.ok(cluster.network.sent.every(({ datagram }) => datagram.length <= 1400))
  for (const member of members) {
    const { malformed, unauthenticated } = member.replicator.stats.dropped
    assert.deepEqual([malformed, unauthenticated], [0, 0])
  }
  await cluster.stop(members)
})

test('a datagram of form 2 with another nonce, bit or form is not taken', async () => {
  const cluster = new MemoryCluster()
  const members = [1, 2].map((number) => cluster.member(number, 2, { minimumVersion: 2 }))
  for (const member of members) await member.replicator.start()
  cluster.clock.advance(2000)
  const [first, second] = members
  assert.ok(first !== undefined && second !== undefined)
  cluster.network.isLost = () => true
  first.put('a', 1)
  cluster.clock.advance(0)
  cluster.network.isLost = () => false
  const sealed = cluster.network.sent.find(({ datagram }) => datagram[3] === 0)
  assert.ok(sealed !== undefined)
  for (let position = 0; position < sealed.datagram.length; position += 1) {
    const datagram = Buffer.from(sealed.datagram)
    datagram[position] = (datagram[position] ?? 0) ^ (1 << (position % 8))
    cluster.network.deliver({ datagram, from: addressOf(1), to: addressOf(2) })
  }
  assert.deepEqual(second.applied, [])
  cluster.network.deliver(sealed)
  assert.deepEqual(second.ids, ['a'])
  await cluster.stop(members)
})
