// Nodes over a memory network: what one publishes all others apply.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Keyring } from '../../src/wire/keyring.ts'
import { addressOf, droppedTotal, type Member, MemoryCluster } from '../support/memory-cluster.ts'
import { TestNode } from '../support/replication-node.ts'
import { seededBytes, seededNumbers } from '../support/seeded-random.ts'

function idsOf(member: Member): string[] {
  return [...member.ids].sort()
}

test('what one of three nodes publishes both others apply once, and nobody sends it on', async () => {
  const cluster = new MemoryCluster()
  const members = await cluster.start(3)
  const [first, second, third] = members as [Member, Member, Member]
  const sentBefore = cluster.network.sent.length
  first.put('a', 10)
  second.put('b', 11)
  second.remove('a', 12)
  cluster.clock.advance(0)
  assert.deepEqual(idsOf(first), ['a', 'b'])
  assert.deepEqual(idsOf(second), ['a'])
  assert.deepEqual(idsOf(third), ['a', 'a', 'b'])
  // Three times to two peers: the first of a turn goes at once, the second one's removal after it.
  assert.equal(cluster.network.sent.length - sentBefore, 6)
  const [applied] = second.applied
  assert.deepEqual(applied, {
    kind: 'put',
    cache: 'ssl',
    id: Buffer.from('a'),
    context: Buffer.from('shop.example'),
    serverName: 'shop.example',
    session: Buffer.from('session of a'),
    ttlMs: 300_000,
    version: { clock: 10, origin: first.identity.origin },
  })
  for (const member of members) assert.equal(droppedTotal(member), 0)
  await cluster.stop(members)
  assert.equal(cluster.clock.pendingCount, 0)
})

test('loss, doubling and reordering: everything arrives, and nothing twice', async () => {
  const cluster = new MemoryCluster({
    random: seededNumbers('bad network'),
    loss: 0.1,
    duplication: 0.1,
    reordering: 0.25,
    delayMs: 5,
  })
  const members = await cluster.start(3)
  const [first, second] = members as [Member, Member]
  for (let number = 0; number < 300; number += 1) {
    first.put(`id-${number}`, number + 1)
    cluster.clock.advance(1)
  }
  cluster.network.loss = 0
  cluster.clock.advance(30_000)
  const { stats } = second.replicator
  assert.equal(new Set(second.ids).size, second.ids.length, 'something was applied twice')
  assert.equal(second.ids.length, 300)
  assert.ok(stats.dropped.replay > 10)
  assert.ok(stats.repaired > 10)
  assert.equal(stats.lost, 0)
  const peer = second.replicator.peers().find((status) => status.name === 'node-1')
  assert.deepEqual([peer?.lost, peer?.repaired], [0, stats.repaired])
  await cluster.stop(members)
})

test('a session of 60 KiB travels in the smallest datagrams, in any order', async () => {
  const cluster = new MemoryCluster({ random: seededNumbers('order'), reordering: 0.9 })
  const members = await cluster.start(2, { maxDatagramBytes: 576 })
  const [first, second] = members as [Member, Member]
  const session = seededBytes('large session')(61_440)
  const before = cluster.network.sent.length
  first.put('large', 1, { session })
  first.put('small', 2)
  cluster.clock.advance(100)
  const datagrams = cluster.network.sent.slice(before)
  assert.ok(datagrams.length > 100)
  assert.ok(datagrams.every(({ datagram }) => datagram.length <= 576))
  assert.deepEqual(idsOf(second), ['large', 'small'])
  const large = second.newest.get(Buffer.from('large').toString('hex'))
  assert.ok(large?.kind === 'put' && session.equals(large.session))
  assert.equal(second.replicator.pendingBytes, 0)
  assert.equal(droppedTotal(second), second.replicator.stats.dropped.replay)
  assert.equal(first.replicator.stats.entriesSent, 2)
  await cluster.stop(members)
})

test('a change too large for the protocol is counted and not sent', async () => {
  const cluster = new MemoryCluster()
  const members = await cluster.start(2)
  const [first, second] = members as [Member, Member]
  first.put('huge', 1, { session: Buffer.alloc(70_000) })
  first.put('next', 2)
  cluster.clock.advance(0)
  assert.deepEqual(second.ids, ['next'])
  assert.equal(first.replicator.stats.dropped.too_large, 1)
  await cluster.stop(members)
})

test('a multicast group needs no list of peers', async () => {
  const cluster = new MemoryCluster()
  const group = { host: '239.1.1.1', port: 7171 }
  const members = [1, 2, 3].map(
    (number) =>
      new TestNode({
        name: `node-${number}`,
        transport: cluster.network.transport(addressOf(number), group),
        clock: cluster.clock,
      }),
  )
  for (const member of members) await member.replicator.start()
  cluster.clock.advance(0)
  assert.ok(members.every((member) => member.replicator.peers().length === 2))
  assert.ok(members.every((member) => member.replicator.peers().every((peer) => peer.isVerified)))
  const before = cluster.network.sent.length
  members[0]?.put('a', 1)
  cluster.clock.advance(0)
  assert.equal(cluster.network.sent.length - before, 1, 'one datagram for the whole group')
  assert.deepEqual(
    members.map((member) => member.ids),
    [[], ['a'], ['a']],
  )
  assert.equal(members[0]?.replicator.stats.dropped.replay, 0, 'its own datagram came back')
  cluster.clock.advance(1000)
  assert.ok(members.every((member) => member.replicator.joinState() === 'joined'))
  await cluster.stop(members)
})

test('a node that starts later gets everything from then on, and its own go everywhere', async () => {
  const cluster = new MemoryCluster()
  const first = cluster.member(1, 2)
  await first.replicator.start()
  first.put('before', 1)
  cluster.clock.advance(5000)
  const second = cluster.member(2, 2)
  await second.replicator.start()
  cluster.clock.advance(1000)
  first.put('after', 2)
  second.put('back', 3)
  cluster.clock.advance(0)
  assert.deepEqual(second.ids, ['after'])
  assert.deepEqual(first.ids, ['back'])
  cluster.clock.advance(20_000)
  assert.equal(second.replicator.stats.lost, 0, 'what was sent before counts as lost')
  await cluster.stop([first, second])
})

test('a restarted node is taken for a new boot, and the old one is forgotten', async () => {
  const cluster = new MemoryCluster()
  const [first, second] = (await cluster.start(2)) as [Member, Member]
  await second.replicator.stop()
  cluster.clock.advance(20_000)
  const [down] = first.replicator.peers()
  assert.deepEqual([down?.name, down?.isUp], ['node-2', false])
  assert.ok((down?.lastSeenMs ?? 0) > 10_000)
  const again = cluster.member(2, 2, { boot: 2 })
  await again.replicator.start()
  cluster.clock.advance(10_000)
  const peers = first.replicator.peers()
  assert.equal(peers.length, 1)
  assert.equal(peers[0]?.boot, again.identity.bootId.toString('hex'))
  assert.equal(peers[0]?.isUp, true)
  first.put('a', 1)
  again.put('b', 2)
  cluster.clock.advance(0)
  assert.deepEqual([first.ids, again.ids], [['b'], ['a']])
  await cluster.stop([first, again])
})

test('two nodes that share a name by mistake still replicate', async () => {
  const cluster = new MemoryCluster()
  const first = cluster.member(1, 2, { name: 'twin' })
  const second = cluster.member(2, 2, { name: 'twin', boot: 2 })
  await first.replicator.start()
  await second.replicator.start()
  cluster.clock.advance(1000)
  first.put('a', 1)
  second.put('b', 2)
  cluster.clock.advance(0)
  assert.deepEqual([first.ids, second.ids], [['b'], ['a']])
  await cluster.stop([first, second])
})

test('clocks that are an hour apart are measured, and change neither lag nor what is applied', async () => {
  const cluster = new MemoryCluster({ delayMs: 4 })
  const first = cluster.member(1, 2)
  // A clock that runs like that of the cluster, but whose wall time is an hour ahead.
  const wrong = {
    monotonicMs: () => cluster.clock.monotonicMs(),
    wallMs: () => cluster.clock.wallMs() + 3_600_000,
    after: (delayMs: number, callback: () => void) => cluster.clock.after(delayMs, callback),
    soon: (callback: () => void) => cluster.clock.soon(callback),
  }
  const second = cluster.member(2, 2, { clock: wrong })
  await first.replicator.start()
  await second.replicator.start()
  cluster.clock.advance(1000)
  first.put('a', 1)
  second.put('b', 2)
  cluster.clock.advance(10)
  assert.deepEqual([first.ids, second.ids], [['b'], ['a']])
  const [seenByFirst] = first.replicator.peers()
  const [seenBySecond] = second.replicator.peers()
  assert.equal(seenByFirst?.clockDifferenceMs, 3_600_000)
  assert.equal(seenBySecond?.clockDifferenceMs, -3_600_000)
  assert.equal(seenByFirst?.lagMs, 4)
  assert.equal(seenBySecond?.lagMs, 4)
  assert.equal(first.replicator.stats.lag.count, 1)
  await cluster.stop([first, second])
})

test('keys rotate under load without a loss', async () => {
  const [oldKey, newKey] = [seededBytes('old')(32), seededBytes('new')(32)]
  const cluster = new MemoryCluster({ delayMs: 3 })
  const members = await cluster.start(3, { keyring: new Keyring([oldKey]) })
  let clock = 0
  const load = (count: number) => {
    for (let number = 0; number < count; number += 1) {
      clock += 1
      for (const member of members) member.put(`${member.identity.nodeName} ${clock}`, clock)
      cluster.clock.advance(1)
    }
  }
  const steps = [
    new Keyring([oldKey, newKey]),
    new Keyring([newKey, oldKey]),
    new Keyring([newKey]),
  ]
  for (const keyring of steps) {
    for (const member of members) {
      load(5)
      member.keys.current = keyring
    }
    // The last datagrams under the old key arrive before it goes.
    load(10)
  }
  cluster.clock.advance(10_000)
  for (const member of members) {
    assert.equal(member.ids.length, 2 * clock)
    assert.equal(droppedTotal(member), 0)
    assert.equal(member.replicator.stats.lost, 0)
  }
  await cluster.stop(members)
})

test('a key that left the keyring opens nothing more, also of a known sender', async () => {
  const [oldKey, newKey] = [seededBytes('old')(32), seededBytes('new')(32)]
  const cluster = new MemoryCluster()
  const members = await cluster.start(2, { keyring: new Keyring([oldKey, newKey]) })
  const [first, second] = members as [Member, Member]
  second.keys.current = new Keyring([newKey])
  first.put('under the old key', 1)
  cluster.clock.advance(0)
  assert.deepEqual(second.ids, [])
  assert.equal(second.replicator.stats.dropped.unauthenticated, 1)
  first.keys.current = new Keyring([newKey, oldKey])
  first.put('under the new key', 2)
  cluster.clock.advance(0)
  assert.deepEqual(second.ids, ['under the new key'])
  await cluster.stop(members)
})

test('a queue without room costs a counter, not the caller, and is made up for', async () => {
  const cluster = new MemoryCluster()
  const members = await cluster.start(3)
  const [first, second] = members as [Member, Member]
  first.transport.hasRoom = false
  first.put('late', 1)
  cluster.clock.advance(0)
  assert.equal(first.replicator.stats.dropped.queue_full, 2)
  first.transport.hasRoom = true
  first.put('kept', 2)
  cluster.clock.advance(20_000)
  assert.deepEqual(second.ids, ['kept', 'late'])
  assert.equal(second.replicator.stats.repaired, 1)
  assert.equal(second.replicator.stats.lost, 0)
  await cluster.stop(members)
})

test('peers change while it runs', async () => {
  const cluster = new MemoryCluster()
  const first = cluster.member(1, 0)
  const second = cluster.member(2, 0)
  await first.replicator.start()
  await second.replicator.start()
  first.put('to nobody', 1)
  cluster.clock.advance(1000)
  assert.equal(cluster.network.sent.length, 0)
  assert.equal(first.replicator.joinState(), 'alone')
  await first.replicator.setPeers([addressOf(1), addressOf(2)])
  cluster.clock.advance(0)
  first.put('a', 2)
  cluster.clock.advance(0)
  assert.deepEqual(second.ids, ['a'])
  assert.deepEqual(
    first.replicator.peers().map((peer) => [peer.name, peer.address]),
    [['node-2', '10.0.0.2:7171']],
  )
  await first.replicator.setPeers([])
  first.put('b', 3)
  cluster.clock.advance(0)
  assert.deepEqual(second.ids, ['a'])
  await cluster.stop([first, second])
})

test('a node that is reached at two addresses gets every change once', async () => {
  const cluster = new MemoryCluster()
  const second = cluster.member(2, 1)
  const otherAddress = addressOf(22)
  const first = cluster.member(1, 0, { peers: [addressOf(2), otherAddress] })
  cluster.network.attach(otherAddress, second.transport)
  await first.replicator.start()
  await second.replicator.start()
  cluster.clock.advance(1000)
  const before = cluster.network.sent.length
  first.put('a', 1)
  cluster.clock.advance(0)
  assert.equal(cluster.network.sent.length - before, 1)
  assert.deepEqual(second.ids, ['a'])
  assert.equal(second.replicator.stats.dropped.replay, 0)
  await cluster.stop([first, second])
})

test('a replicator reports that it joined, and that nobody was there', async () => {
  const cluster = new MemoryCluster({ delayMs: 10 })
  const lonely = cluster.member(3, 3)
  assert.equal(lonely.replicator.joinState(), 'joining')
  await lonely.replicator.start()
  cluster.clock.advance(999)
  assert.equal(lonely.replicator.joinState(), 'joining')
  cluster.clock.advance(1)
  assert.equal(lonely.replicator.joinState(), 'alone')
  assert.ok(lonely.replicator.peers().every((peer) => !peer.isVerified && peer.name === ''))

  const first = cluster.member(1, 2)
  const second = cluster.member(2, 2)
  await first.replicator.start()
  await second.replicator.start()
  cluster.clock.advance(15)
  assert.equal(second.replicator.joinState(), 'joining')
  cluster.clock.advance(40)
  assert.equal(first.replicator.joinState(), 'joined')
  assert.equal(second.replicator.joinState(), 'joined')
  await cluster.stop([lonely, first, second])
})

test('stop sends what was gathered, is idempotent and leaves no timer; later changes go nowhere', async () => {
  const cluster = new MemoryCluster()
  const [first, second] = (await cluster.start(2)) as [Member, Member]
  first.put('last', 1)
  await first.replicator.stop()
  await first.replicator.stop()
  first.put('too late', 2)
  cluster.clock.advance(0)
  assert.deepEqual(second.ids, ['last'])
  await second.replicator.stop()
  assert.equal(cluster.clock.pendingCount, 0)
})

test('datagram sizes outside the limits are refused', () => {
  const cluster = new MemoryCluster()
  for (const maxDatagramBytes of [575, 65_508]) {
    assert.throws(() => cluster.member(1, 1, { maxDatagramBytes }), RangeError)
  }
})
