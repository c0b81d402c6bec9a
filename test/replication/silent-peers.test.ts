// Peers that are not there: what they cost those who are, and what they have when they come back.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { HostAddress } from '../../src/base/address.ts'
import { GREETING_DATAGRAM_BYTES } from '../../src/replication/peers/greeter.ts'
import { addressOf, MemoryCluster } from '../support/memory-cluster.ts'
import { seededNumbers } from '../support/seeded-random.ts'

test('where nobody answers any more only greetings go; who comes back gets what it missed', async () => {
  const cluster = new MemoryCluster({ delayMs: 1 })
  const members = await cluster.start(3)
  const [first, second, third] = members
  assert.ok(first !== undefined && second !== undefined && third !== undefined)
  const isThird = ({ host }: HostAddress) => host === addressOf(3).host
  cluster.network.isLost = ({ from }, receiver) => isThird(from) !== isThird(receiver)
  first.put('at first nobody knows', 1)
  cluster.clock.advance(15_000)
  const sentBefore = cluster.network.sent.length
  first.put('while it is away', 2)
  cluster.clock.advance(5000)
  const sent = cluster.network.sent.slice(sentBefore).filter(({ to }) => isThird(to))
  assert.ok(sent.length >= 8, 'it is looked for every second by both')
  for (const { datagram } of sent) assert.equal(datagram.length, GREETING_DATAGRAM_BYTES)
  assert.deepEqual(second.ids, ['at first nobody knows', 'while it is away'])
  assert.deepEqual(third.ids, [])
  cluster.network.isLost = () => false
  cluster.clock.advance(1100)
  assert.deepEqual(third.ids, ['at first nobody knows', 'while it is away'])
  first.put('again', 3)
  cluster.clock.advance(2)
  assert.equal(third.ids.at(-1), 'again')
  await cluster.stop(members)
})

test('changes made while the only peer is away are numbered, so that it asks for them', async () => {
  const cluster = new MemoryCluster({ delayMs: 1 })
  const members = await cluster.start(2)
  const [first, second] = members
  assert.ok(first !== undefined && second !== undefined)
  cluster.network.isLost = () => true
  cluster.clock.advance(15_000)
  first.put('while it is away', 1)
  cluster.clock.advance(5000)
  assert.deepEqual(second.ids, [])
  cluster.network.isLost = () => false
  cluster.clock.advance(1100)
  assert.deepEqual(second.ids, ['while it is away'])
  await cluster.stop(members)
})

test('where a third of all datagrams is lost nobody who is there falls silent', async () => {
  const cluster = new MemoryCluster({ delayMs: 1, random: seededNumbers('lossy') })
  const members = await cluster.start(3)
  cluster.network.loss = 0.3
  for (let second = 0; second < 300; second += 1) {
    for (let count = 0; count < 20; count += 1) {
      for (const [number, member] of members.entries()) {
        member.put(`${second} ${count} ${number}`, 1)
      }
      cluster.clock.advance(50)
    }
  }
  for (const { replicator } of members) {
    const sent = replicator.peers().map(({ entriesSent }) => entriesSent)
    assert.deepEqual(sent, [6000, 6000])
  }
  await cluster.stop(members)
})
