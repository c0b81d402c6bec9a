// Repair of losses over a memory network, one loss at a time. All orders and losses together are in test/simulation.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { addressOf, type Member, MemoryCluster } from '../support/memory-cluster.ts'
import type { Passed } from '../support/memory-network.ts'
import { headerOf, ofKind } from '../support/wiretap.ts'

interface Loss {
  readonly cluster: MemoryCluster
  readonly first: Member
  readonly second: Member
  /** What passed since the nodes knew each other. */
  readonly tape: () => Passed[]
}

async function acquaintedPair(
  options: ConstructorParameters<typeof MemoryCluster>[0] = {},
): Promise<Loss> {
  const cluster = new MemoryCluster(options)
  const [first, second] = (await cluster.start(2)) as [Member, Member]
  const before = cluster.network.sent.length
  return { cluster, first, second, tape: () => cluster.network.sent.slice(before) }
}

/** Loses the datagrams with changes of these numbers among all that come, the first being 1. */
function loseChanges(cluster: MemoryCluster, ...numbers: number[]): void {
  let seen = 0
  cluster.network.isLost = (passed) => {
    if (headerOf(passed).channel !== 'changes') return false
    seen += 1
    return numbers.includes(seen)
  }
}

/** Loses so many datagrams of a kind, the first ones. */
function loseFirst(cluster: MemoryCluster, kind: 'nack' | 'gone', count: number): () => number {
  let lost = 0
  const before = cluster.network.isLost
  cluster.network.isLost = (passed, receiver) => {
    if (before(passed, receiver)) return true
    if (lost >= count || ofKind([passed], kind).length === 0) return false
    lost += 1
    return true
  }
  return () => lost
}

function putOneByOne(cluster: MemoryCluster, node: Member, count: number): void {
  for (let number = 1; number <= count; number += 1) {
    node.put(`id-${number}`, number)
    cluster.clock.advance(1)
  }
}

test('a gap is asked for after a short wait and filled', async () => {
  const { cluster, first, second, tape } = await acquaintedPair()
  loseChanges(cluster, 2)
  putOneByOne(cluster, first, 3)
  assert.deepEqual(second.ids, ['id-1', 'id-3'])
  assert.equal(ofKind(tape(), 'nack').length, 0, 'asked before it could have been late')
  cluster.clock.advance(5)
  assert.deepEqual(second.ids, ['id-1', 'id-3', 'id-2'])
  const { stats } = second.replicator
  assert.deepEqual([stats.repaired, stats.lost], [1, 0])
  assert.equal(second.replicator.peers()[0]?.repaired, 1)
  cluster.clock.advance(5000)
  assert.equal(ofKind(tape(), 'nack').length, 1)
  assert.equal(ofKind(tape(), 'changes').length, 4)
  await cluster.stop([first, second])
  assert.equal(cluster.clock.pendingCount, 0)
})

test('a lost last datagram is noticed by the heartbeat within milliseconds', async () => {
  const { cluster, first, second } = await acquaintedPair()
  loseChanges(cluster, 1)
  first.put('tail', 1)
  cluster.clock.advance(10)
  assert.deepEqual(second.ids, ['tail'])
  await cluster.stop([first, second])
})

test('heartbeats grow rare after the last datagram and end where greetings take over', async () => {
  const { cluster, first, second, tape } = await acquaintedPair()
  const startMs = cluster.clock.monotonicMs()
  const times: number[] = []
  cluster.network.isLost = (passed) => {
    if (ofKind([passed], 'heartbeat').length === 1)
      times.push(cluster.clock.monotonicMs() - startMs)
    return false
  }
  first.put('a', 1)
  cluster.clock.advance(20_000)
  assert.deepEqual(times, [4, 12, 28, 60, 124, 252, 508, 1020])
  const heartbeats = ofKind(tape(), 'heartbeat').length
  // A stream shows its own end: no heartbeat while it lasts.
  putOneByOne(cluster, first, 100)
  assert.equal(ofKind(tape(), 'heartbeat').length, heartbeats)
  cluster.clock.advance(4)
  assert.equal(ofKind(tape(), 'heartbeat').length, heartbeats + 1)
  await cluster.stop([first, second])
})

test('after a lost NACK and after a lost repair it asks again, twice to be heard', async () => {
  const { cluster, first, second, tape } = await acquaintedPair()
  // The third datagram with changes is the repair.
  loseChanges(cluster, 1, 3)
  const lostNacks = loseFirst(cluster, 'nack', 1)
  putOneByOne(cluster, first, 2)
  cluster.clock.advance(30)
  assert.deepEqual(second.ids, ['id-2', 'id-1'])
  assert.equal(lostNacks(), 1)
  assert.equal(ofKind(tape(), 'nack').length, 1 + 2 + 2)
  assert.equal(second.replicator.stats.repaired, 1)
  await cluster.stop([first, second])
})

test('a receiver that does not keep up asks again only when an answer had time to pass all that waits', async () => {
  const { cluster, first, second, tape } = await acquaintedPair()
  const waitMs = 100
  let isLost = false
  let isTaken = false
  // A socket that the receiver comes to so much later, and that had no room for the second datagram.
  cluster.network.isLost = (passed, receiver) => {
    if (isTaken || receiver.host !== second.transport.address.host) return false
    const { channel, sequence } = headerOf(passed)
    const hasRoom = isLost || channel !== 'changes' || sequence !== 2
    isLost ||= !hasRoom
    const take = () => {
      isTaken = true
      cluster.network.deliver(passed)
      isTaken = false
    }
    if (hasRoom) cluster.clock.after(waitMs, take)
    return true
  }
  putOneByOne(cluster, first, 400)
  cluster.clock.advance(waitMs)
  assert.equal(second.ids.length, 400)
  assert.equal(ofKind(tape(), 'nack').length, 1)
  assert.equal(ofKind(tape(), 'changes').length, 401)
  await cluster.stop([first, second])
})

test('a datagram that is only late is not asked for', async () => {
  const { cluster, first, second, tape } = await acquaintedPair()
  cluster.network.isLost = (passed) => {
    if (headerOf(passed).channel !== 'changes' || headerOf(passed).sequence !== 1) return false
    cluster.network.isLost = () => false
    cluster.clock.after(1.5, () => cluster.network.deliver(passed))
    return true
  }
  first.put('late', 1)
  cluster.clock.advance(0)
  first.put('early', 2)
  cluster.clock.advance(1000)
  assert.deepEqual(second.ids, ['early', 'late'])
  assert.equal(ofKind(tape(), 'nack').length, 0)
  assert.equal(second.replicator.stats.repaired, 0)
  await cluster.stop([first, second])
})

test('every fragment of a large session that is lost comes again', async () => {
  const { cluster, first, second } = await acquaintedPair()
  loseChanges(cluster, 1, 4, 5, 9)
  first.put('large', 1, { session: Buffer.alloc(12_000, 7) })
  cluster.clock.advance(50)
  assert.deepEqual(second.ids, ['large'])
  assert.equal(second.replicator.stats.repaired, 4)
  await cluster.stop([first, second])
})

test('a long outage is made up for from the log, paced', async () => {
  const { cluster, first, second } = await acquaintedPair()
  cluster.network.isLost = () => true
  for (let number = 1; number <= 3000; number += 1) {
    first.put(`id-${number}`, number, { session: Buffer.alloc(700) })
    cluster.clock.advance(1)
  }
  assert.equal(second.ids.length, 0)
  cluster.network.isLost = () => false
  cluster.clock.advance(4000)
  assert.equal(second.ids.length, 3000)
  assert.equal(new Set(second.ids).size, 3000)
  assert.equal(second.replicator.stats.lost, 0)
  assert.equal(second.replicator.stats.dropped.replay, 0, 'something was sent twice')
  await cluster.stop([first, second])
})

test('what left the log is lost at once, said to be gone, and told to whoever can do better', async () => {
  const cluster = new MemoryCluster()
  const members = await cluster.start(2, { resendLogBytes: 4096 })
  const [first, second] = members as [Member, Member]
  cluster.network.isLost = () => true
  putOneByOne(cluster, first, 100)
  cluster.network.isLost = () => false
  const lostGones = loseFirst(cluster, 'gone', 1)
  first.put('id-101', 101)
  cluster.clock.advance(100)
  const { stats } = second.replicator
  assert.equal(lostGones(), 1)
  assert.ok(stats.repaired > 10 && stats.lost > 50)
  assert.equal(stats.repaired + stats.lost, 100)
  assert.equal(second.ids.length, stats.repaired + 1)
  assert.deepEqual([...new Set(second.unrepairable)], ['node-1'])
  assert.equal(second.replicator.peers()[0]?.lost, stats.lost)
  const told = second.unrepairable.length
  cluster.clock.advance(60_000)
  assert.equal(second.unrepairable.length, told)
  await cluster.stop(members)
})

test('a gap that nobody answers for counts as lost after thirty seconds', async () => {
  const { cluster, first, second, tape } = await acquaintedPair()
  loseChanges(cluster, 1)
  loseFirst(cluster, 'nack', Number.POSITIVE_INFINITY)
  putOneByOne(cluster, first, 2)
  cluster.clock.advance(29_000)
  assert.equal(second.replicator.stats.lost, 0)
  cluster.clock.advance(3000)
  assert.equal(second.replicator.stats.lost, 1)
  assert.deepEqual(second.unrepairable, ['node-1'])
  const asked = ofKind(tape(), 'nack').length
  assert.ok(asked > 60 && asked < 120, `${asked} NACKs`)
  cluster.clock.advance(10_000)
  assert.equal(ofKind(tape(), 'nack').length, asked)
  await cluster.stop([first, second])
})

test('what was sent before a node joined is neither asked for nor lost', async () => {
  const cluster = new MemoryCluster()
  const first = cluster.member(1, 2)
  await first.replicator.start()
  putOneByOne(cluster, first, 10)
  const second = cluster.member(2, 2)
  await second.replicator.start()
  cluster.clock.advance(1000)
  first.put('after', 11)
  cluster.clock.advance(5000)
  assert.deepEqual(second.ids, ['after'])
  assert.equal(ofKind(cluster.network.sent, 'nack').length, 0)
  assert.deepEqual(second.unrepairable, [])
  await cluster.stop([first, second])
})

test('a repair is the same bytes again', async () => {
  const { cluster, first, second, tape } = await acquaintedPair()
  loseChanges(cluster, 1)
  putOneByOne(cluster, first, 2)
  cluster.clock.advance(20)
  const repairs = ofKind(tape(), 'changes').filter((passed) => headerOf(passed).sequence === 1)
  assert.deepEqual(
    repairs.map(({ to }) => to),
    [addressOf(2), addressOf(2)],
  )
  assert.deepEqual(repairs[0]?.datagram, repairs[1]?.datagram, 'sealed anew')
  await cluster.stop([first, second])
})
