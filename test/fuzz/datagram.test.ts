// 100,000 random and mutated datagrams against a running node: nothing applied, nothing answered, every
// one counted by reason, no table grows, and the node still serves.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Sealer } from '../../src/wire/seal.ts'
import { addressOf, droppedTotal, type Member, MemoryCluster } from '../support/memory-cluster.ts'
import { TEST_KEYS } from '../support/replication-node.ts'
import { seededBytes, seededNumbers } from '../support/seeded-random.ts'

const DATAGRAMS = 100_000
const STRANGER = { host: '10.6.6.6', port: 666 }

type Mutation = (datagram: Buffer) => Buffer

const bytes = seededBytes('fuzz bytes')
const number = seededNumbers('fuzz numbers')

function below(limit: number): number {
  return Math.floor(number() * limit)
}

const mutations: readonly Mutation[] = [
  (datagram) => flip(datagram, below(datagram.length)),
  (datagram) => flip(flip(datagram, below(datagram.length)), below(32)),
  (datagram) => datagram.subarray(0, below(datagram.length)),
  (datagram) => Buffer.concat([datagram, bytes(1 + below(40))]),
  (datagram) => {
    const copy = Buffer.from(datagram)
    bytes(1 + below(16)).copy(copy, below(copy.length))
    return copy
  },
  (datagram) => Buffer.concat([datagram.subarray(0, 32), bytes(1 + below(1400))]),
  (datagram) => Buffer.concat([datagram.subarray(0, below(32)), bytes(1 + below(100))]),
  () => bytes(below(1400)),
]

function flip(datagram: Buffer, position: number): Buffer {
  const copy = Buffer.from(datagram)
  copy[position] = (copy[position] ?? 0) ^ (1 + below(255))
  return copy
}

test('random and mutated datagrams change nothing but the counters', async () => {
  const cluster = new MemoryCluster()
  const members = await cluster.start(2)
  const [first, second] = members as [Member, Member]
  for (let count = 0; count < 40; count += 1) {
    first.put(`before-${count}`, count + 1, { session: bytes(1 + below(3000)) })
    cluster.clock.advance(100)
  }
  const samples = cluster.network.sent
    .filter(({ to }) => to.host === addressOf(2).host)
    .map(({ datagram }) => datagram)
  const appliedBefore = second.applied.length
  const sentBefore = cluster.network.sent.length
  const countedBefore = droppedTotal(second)
  const { datagramsReceived: receivedBefore } = second.replicator.stats

  let delivered = 0
  for (let count = 0; count < DATAGRAMS; count += 1) {
    const sample = samples[below(samples.length)]
    const mutate = mutations[count % mutations.length]
    assert.ok(sample !== undefined && mutate !== undefined)
    const datagram = mutate(sample)
    // Overwriting bytes with themselves is no mutation, but a replay: counted as well.
    // What comes from where its sender is, is opened; of a stranger's flood only a little.
    const from = below(2) === 0 ? addressOf(1) : STRANGER
    cluster.network.deliver({ datagram, from, to: addressOf(2) })
    delivered += 1
  }

  const { stats } = second.replicator
  assert.equal(second.applied.length, appliedBefore)
  assert.equal(cluster.network.sent.length, sentBefore, 'something was answered')
  assert.equal(droppedTotal(second) - countedBefore, delivered)
  assert.equal(stats.datagramsReceived - receivedBefore, delivered)
  assert.ok(stats.dropped.malformed > DATAGRAMS / 10)
  assert.ok(stats.dropped.unauthenticated > DATAGRAMS / 20)
  assert.ok(stats.dropped.throttled > DATAGRAMS / 20)
  assert.equal(stats.dropped.stale + stats.dropped.queue_full + stats.dropped.too_large, 0)
  assert.equal(second.replicator.senderCount, 1)
  assert.equal(second.replicator.pendingBytes, 0)

  first.put('after', 1000)
  cluster.clock.advance(0)
  assert.equal(second.ids.at(-1), 'after')
  await cluster.stop(members)
})

test('authentic datagrams with random messages are malformed and harmless', async () => {
  const cluster = new MemoryCluster()
  const members = await cluster.start(2)
  const [first, second] = members as [Member, Member]
  // The twin of the first node seals garbage under its identity, far ahead of its sequence.
  const twin = new Sealer(first.identity, TEST_KEYS)
  const channels = ['changes', 'control'] as const
  for (let skipped = 0; skipped < 100; skipped += 1) {
    for (const channel of channels) twin.seal(channel, bytes(1))
  }
  const sentBefore = cluster.network.sent.length
  for (let count = 0; count < 10_000; count += 1) {
    const channel = channels[count % 2] ?? 'changes'
    const datagram = twin.seal(channel, bytes(1 + below(60)))
    cluster.network.deliver({ datagram, from: addressOf(1), to: addressOf(2) })
  }
  assert.equal(second.replicator.stats.dropped.malformed, 10_000)
  assert.deepEqual(second.applied, [])
  assert.equal(cluster.network.sent.length, sentBefore)
  assert.equal(second.replicator.pendingBytes, 0)
  await cluster.stop(members)
})
