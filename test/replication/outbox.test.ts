// When a node sends what it changed, and how much of it in a datagram.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DEFAULT_DATAGRAM_BYTES } from '../../src/wire/datagram.ts'
import { type Member, MemoryCluster } from '../support/memory-cluster.ts'

test('an idle node sends at once; what gathers in one turn shares datagrams', async () => {
  const cluster = new MemoryCluster()
  const members = await cluster.start(2)
  const [first, second] = members as [Member, Member]
  const before = cluster.network.sent.length
  first.put('alone', 1)
  assert.equal(cluster.network.sent.length - before, 1, 'before anybody else had the event loop')
  cluster.clock.advance(0)
  assert.equal(cluster.network.sent.length - before, 1)
  for (let number = 0; number < 100; number += 1) first.put(`id-${number}`, number + 2)
  cluster.clock.advance(0)
  const datagrams = cluster.network.sent.slice(before + 1)
  assert.ok(datagrams.length < 12, `${datagrams.length} datagrams for 100 small sessions`)
  assert.ok(datagrams.every(({ datagram }) => datagram.length <= DEFAULT_DATAGRAM_BYTES))
  assert.equal(second.applied.length, 101)
  assert.equal(second.replicator.stats.entriesReceived, 101)
  assert.equal(first.replicator.stats.entriesSent, 101)
  assert.equal(first.replicator.peers()[0]?.entriesSent, 101)
  assert.equal(second.replicator.peers()[0]?.entriesReceived, 101)
  await cluster.stop(members)
})

test('while turn after turn has changes they share a datagram for a millisecond, then the node is idle again', async () => {
  const cluster = new MemoryCluster()
  const members = await cluster.start(2)
  const [first, second] = members as [Member, Member]
  const before = cluster.network.sent.length
  const sent = () => cluster.network.sent.length - before
  for (const id of ['a', 'b']) first.put(id, 1)
  cluster.clock.advance(0)
  assert.equal(sent(), 2, 'the first, and what came in the same turn')
  for (const id of ['c', 'd', 'e']) {
    first.put(id, 1)
    cluster.clock.advance(0.25)
  }
  assert.equal(sent(), 2)
  cluster.clock.advance(0.25)
  assert.equal(sent(), 3, 'a millisecond after the one before')
  cluster.clock.advance(1)
  first.put('f', 1)
  assert.equal(sent(), 4, 'at once')
  cluster.clock.advance(0)
  assert.deepEqual([...second.ids], ['a', 'b', 'c', 'd', 'e', 'f'])
  await cluster.stop(members)
})
