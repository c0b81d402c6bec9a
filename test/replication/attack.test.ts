// What somebody without the key can do, and somebody with old recordings: nothing but be counted.
//
//   recorded datagrams, same boot              here: a replay, from wherever it comes
//   .. after the receiver was started again    here: worthless while the sender lives, and when it is dead
//   .. an hour later, receiver running         here: a sender that was forgotten meanwhile
//   recorded connections                       sync-attack.test.ts
//   forged sender and boot IDs                 here: of others, and the receiver's own
//   bit flips                                  here: datagrams; sync-attack.test.ts: connections;
//                                              ../wire/seal.test.ts: every bit of one
//   another cluster's key                      here: datagrams; sync-attack.test.ts, sync-listener.test.ts
//   a truncated handshake                      sync-attack.test.ts: both sides, by an end and by silence
//   a snapshot connection that stalls          sync.test.ts: a caller; synchronizer.test.ts: who is copied
//   half-open connections                      sync-listener.test.ts; ../e2e/half-open-flood.test.ts: 10,000
//   garbage by the hundred thousand            ../e2e/datagram-flood.test.ts

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MAX_SENDERS } from '../../src/replication/live/senders.ts'
import { GREETING_DATAGRAM_BYTES } from '../../src/replication/peers/greeter.ts'
import type { DropReason } from '../../src/replication/stats.ts'
import { createIdentity } from '../../src/wire/identity.ts'
import { Keyring } from '../../src/wire/keyring.ts'
import { encodeGreeting } from '../../src/wire/message.ts'
import { Sealer } from '../../src/wire/seal.ts'
import { addressOf, droppedTotal, type Member, MemoryCluster } from '../support/memory-cluster.ts'
import type { Passed } from '../support/memory-network.ts'
import { TEST_KEYS, type TestNode } from '../support/replication-node.ts'
import { seededBytes } from '../support/seeded-random.ts'

const ATTACKER = { host: '10.6.6.6', port: 666 }

/** Two acquainted nodes, and all that the first sent to the second, from its start on. */
async function record(): Promise<{
  cluster: MemoryCluster
  pair: [Member, Member]
  tape: Passed[]
}> {
  const cluster = new MemoryCluster()
  const pair = (await cluster.start(2)) as [Member, Member]
  for (let number = 0; number < 20; number += 1) {
    pair[0].put(`recorded-${number}`, number + 1)
    cluster.clock.advance(0)
  }
  pair[0].put('recorded-large', 100, { session: Buffer.alloc(5000, 1) })
  cluster.clock.advance(4000)
  assert.equal(pair[1].applied.length, 21)
  return {
    cluster,
    pair,
    tape: sentTo(cluster, 2).filter((passed) => passed.from.host === '10.0.0.1'),
  }
}

function sentTo(cluster: MemoryCluster, number: number): Passed[] {
  return cluster.network.sent.filter((passed) => passed.to.host === addressOf(number).host)
}

function isGreeting(passed: Passed): boolean {
  return passed.datagram[3] === 1 && passed.datagram.length === GREETING_DATAGRAM_BYTES
}

function play(cluster: MemoryCluster, tape: readonly Passed[], from = ATTACKER): void {
  for (const passed of tape) cluster.network.deliver({ ...passed, from })
}

/** What dropped datagrams were counted as since `before`. */
function droppedSince(node: TestNode, before: Record<DropReason, number>): Partial<typeof before> {
  const { dropped } = node.replicator.stats
  return Object.fromEntries(
    Object.entries(dropped)
      .map(([reason, count]) => [reason, count - before[reason as DropReason]])
      .filter(([, count]) => count !== 0),
  )
}

test('recorded traffic played again is a replay, from wherever it comes', async () => {
  const { cluster, pair, tape } = await record()
  const [, second] = pair
  const before = { ...second.replicator.stats.dropped }
  const sentBefore = cluster.network.sent.length
  play(cluster, tape)
  play(cluster, tape, addressOf(1))
  assert.deepEqual(droppedSince(second, before), { replay: 2 * tape.length })
  assert.equal(second.applied.length, 21)
  assert.equal(cluster.network.sent.length, sentBefore, 'a replay was answered')
  assert.equal(second.replicator.peers()[0]?.address, '10.0.0.1:7171')
  await cluster.stop(pair)
})

test('recorded traffic is worthless to a restarted receiver while its sender lives', async () => {
  const { cluster, pair, tape } = await record()
  const [first, second] = pair
  await second.replicator.stop()
  cluster.clock.advance(1000)
  const again = cluster.member(2, 2, { boot: 2 })
  await again.replicator.start()
  play(cluster, tape)
  assert.deepEqual(again.applied, [])
  cluster.clock.advance(2000)
  assert.equal(again.replicator.peers()[0]?.isVerified, true)
  play(cluster, tape)
  first.put('fresh', 1000)
  cluster.clock.advance(0)
  assert.deepEqual(again.ids, ['fresh'])
  assert.ok(again.replicator.stats.dropped.stale >= 21)
  assert.equal(again.replicator.pendingBytes, 0)
  await cluster.stop([first, again])
})

test('recorded traffic of a dead sender is held for seconds, answered once and forgotten', async () => {
  const { cluster, pair, tape } = await record()
  await cluster.stop(pair)
  cluster.clock.advance(3_600_000)
  const again = cluster.member(2, 0, { boot: 2 })
  await again.replicator.start()
  const sentBefore = cluster.network.sent.length
  for (let time = 0; time < 3; time += 1) play(cluster, tape)
  cluster.clock.advance(10_000)
  const answers = cluster.network.sent.slice(sentBefore)
  const provoked = sumBytes(answers)
  assert.ok(answers.every(({ to }) => to === ATTACKER))
  assert.ok(provoked <= 3 * sumBytes(tape), 'more bytes out than in')
  const challenges = tape.filter(isGreeting).length
  assert.ok(answers.length <= challenges, 'more answers than challenges')
  assert.deepEqual(again.applied, [])
  assert.equal(again.replicator.pendingBytes, 0)
  assert.equal(again.replicator.senderCount, 0)
  assert.deepEqual(again.replicator.peers(), [])
  await cluster.stop([again])
})

test('recorded traffic an hour later, when the receiver has long forgotten its dead sender', async () => {
  const { cluster, pair, tape } = await record()
  const [first, second] = pair
  await first.replicator.stop()
  cluster.clock.advance(3_600_000)
  assert.equal(second.replicator.senderCount, 0)
  const sentBefore = cluster.network.sent.length
  const staleBefore = second.replicator.stats.dropped.stale
  for (let time = 0; time < 3; time += 1) play(cluster, tape)
  cluster.clock.advance(10_000)
  const answers = cluster.network.sent.slice(sentBefore).filter(({ to }) => to === ATTACKER)
  assert.ok(sumBytes(answers) <= 3 * sumBytes(tape), 'more bytes out than in')
  assert.equal(second.applied.length, 21)
  assert.ok(second.replicator.stats.dropped.stale - staleBefore >= 21, 'held back, then dropped')
  assert.ok(second.replicator.stats.dropped.replay >= 1)
  assert.equal(second.replicator.senderCount, 0)
  assert.equal(second.replicator.pendingBytes, 0)
  await cluster.stop(pair)
})

test('a recorded change alone provokes nothing: it is shorter than what it would buy', async () => {
  const { cluster, pair, tape } = await record()
  await cluster.stop(pair)
  const again = cluster.member(2, 0, { boot: 2 })
  await again.replicator.start()
  const sentBefore = cluster.network.sent.length
  const small = tape.filter(
    (passed) => !isGreeting(passed) && passed.datagram.length < GREETING_DATAGRAM_BYTES,
  )
  assert.ok(small.length >= 20)
  play(cluster, small)
  assert.equal(cluster.network.sent.length, sentBefore)
  const large = tape.find((passed) => passed.datagram.length > 1000)
  assert.ok(large !== undefined)
  play(cluster, [large, large])
  const answers = cluster.network.sent.slice(sentBefore)
  assert.deepEqual(
    answers.map(({ datagram }) => datagram.length),
    [GREETING_DATAGRAM_BYTES],
  )
  await cluster.stop([again])
})

test('every greeting is answered with exactly as many bytes', async () => {
  const cluster = new MemoryCluster()
  const pair = await cluster.start(2)
  cluster.clock.advance(4000)
  // Without changes there is nothing but greetings.
  const greetings = cluster.network.sent
  assert.ok(greetings.length >= 6)
  for (const { datagram } of greetings) assert.equal(datagram.length, GREETING_DATAGRAM_BYTES)
  await cluster.stop(pair)
})

test('bit flips of every byte of every kind of datagram: nothing applied, nothing answered', async () => {
  const { cluster, pair, tape } = await record()
  const [, second] = pair
  const samples = [
    tape.find((passed) => isGreeting(passed)),
    tape.find((passed) => !isGreeting(passed)),
    tape.find((passed) => passed.datagram.length > 1000),
  ]
  const before = { ...second.replicator.stats.dropped }
  const sentBefore = cluster.network.sent.length
  let flips = 0
  for (const sample of samples) {
    assert.ok(sample !== undefined)
    for (let position = 0; position < sample.datagram.length; position += 1) {
      const datagram = Buffer.from(sample.datagram)
      datagram[position] = (datagram[position] ?? 0) ^ (1 << (position % 8))
      // From where the sender is: everything in its name is opened.
      cluster.network.deliver({ ...sample, datagram })
      flips += 1
    }
  }
  const dropped = droppedSince(second, before)
  const { malformed = 0, unauthenticated = 0, throttled = 0 } = dropped
  assert.equal(malformed + unauthenticated + throttled, flips)
  assert.ok(throttled <= 3 * 16, 'only those with another sender ID or boot ID')
  assert.ok((dropped.malformed ?? 0) < 30, 'only magic, version, channel and the sequence are read')
  assert.equal(second.applied.length, 21)
  assert.equal(cluster.network.sent.length, sentBefore)
  assert.equal(second.replicator.senderCount, 1)
  await cluster.stop(pair)
})

test('a forged sender or boot ID, and another sender who has the key', async () => {
  const { cluster, pair, tape } = await record()
  const [, second] = pair
  const before = { ...second.replicator.stats.dropped }
  const [sample] = tape.filter((passed) => !isGreeting(passed))
  assert.ok(sample !== undefined)
  for (const [offset, value] of [
    [8, Buffer.alloc(8, 5)],
    [16, Buffer.alloc(8, 5)],
  ] as const) {
    const datagram = Buffer.from(sample.datagram)
    value.copy(datagram, offset)
    play(cluster, [{ ...sample, datagram }])
  }
  assert.deepEqual(droppedSince(second, before), { unauthenticated: 2 })
  assert.equal(second.replicator.senderCount, 1)
  await cluster.stop(pair)
})

test('a node takes nothing in its own name, recorded or forged', async () => {
  const { cluster, pair, tape } = await record()
  const [first] = pair
  const before = { ...first.replicator.stats.dropped }
  const sentBefore = cluster.network.sent.length
  for (const passed of tape) {
    const forged = Buffer.from(passed.datagram)
    forged.writeUInt8(forged.readUInt8(40) ^ 1, 40)
    for (const datagram of [passed.datagram, forged]) {
      cluster.network.deliver({ datagram, from: ATTACKER, to: addressOf(1) })
    }
  }
  assert.deepEqual(first.applied, [])
  assert.equal(cluster.network.sent.length, sentBefore)
  assert.equal(first.replicator.senderCount, 1)
  assert.deepEqual(droppedSince(first, before), { own: 2 * tape.length })
  await cluster.stop(pair)
})

test('another cluster on the same network is not heard', async () => {
  const cluster = new MemoryCluster()
  const ours = cluster.member(1, 2)
  const theirs = cluster.member(2, 2, { keyring: new Keyring([seededBytes('theirs')(32)]) })
  await ours.replicator.start()
  await theirs.replicator.start()
  ours.put('a', 1)
  theirs.put('b', 2)
  cluster.clock.advance(5000)
  for (const node of [ours, theirs]) {
    assert.deepEqual(node.applied, [])
    assert.ok(node.replicator.stats.dropped.unauthenticated >= 5)
    assert.equal(node.replicator.stats.dropped.unauthenticated, droppedTotal(node))
    assert.equal(node.replicator.senderCount, 0)
    assert.equal(node.replicator.joinState(), 'alone')
  }
  await cluster.stop([ours, theirs])
})

test('what an authentic sender gets wrong is malformed', async () => {
  const { cluster, pair } = await record()
  const [, second] = pair
  const sealer = sealerOf('stranger')
  const greeting = encodeGreeting({
    challenge: undefined,
    answer: undefined,
    changesSequence: 0,
    sentWallMs: 1,
    nodeName: 'stranger',
  })
  const before = { ...second.replicator.stats.dropped }
  const garbage = sealer.seal('control', Buffer.from('garbage'))
  const change = sealer.seal('control', Buffer.from('0a00', 'hex'))
  for (const datagram of [garbage, change]) deliver(cluster, datagram)
  assert.deepEqual(droppedSince(second, before), { malformed: 2 })
  deliver(cluster, sealer.seal('changes', greeting))
  assert.equal(second.replicator.peers().length, 1)
  assert.equal(second.applied.length, 21)
  await cluster.stop(pair)
})

test('an answer to no challenge verifies nobody', async () => {
  const cluster = new MemoryCluster()
  const node = cluster.member(2, 0, { peers: [ATTACKER] })
  await node.replicator.start()
  cluster.clock.advance(0)
  const sealer = sealerOf('stranger')
  const answerTo = (answer: Buffer) =>
    encodeGreeting({
      challenge: undefined,
      answer,
      changesSequence: 0,
      sentWallMs: 1,
      nodeName: 'stranger',
    })
  deliver(cluster, sealer.seal('control', answerTo(Buffer.alloc(16, 1))))
  assert.equal(node.replicator.stats.dropped.stale, 1)
  assert.ok(node.replicator.peers().every((peer) => !peer.isVerified))
  await cluster.stop([node])
})

test('a sender that greets like mad gets ten answers a second', async () => {
  const cluster = new MemoryCluster()
  const node = cluster.member(2, 0)
  await node.replicator.start()
  const sealer = sealerOf('stranger')
  const challenge = () =>
    sealer.seal(
      'control',
      encodeGreeting({
        challenge: Buffer.alloc(16, 3),
        answer: undefined,
        changesSequence: 0,
        sentWallMs: 1,
        nodeName: 'stranger',
      }),
    )
  for (let time = 0; time < 50; time += 1) deliver(cluster, challenge())
  assert.equal(cluster.network.sent.length, 10)
  assert.equal(node.replicator.stats.dropped.queue_full, 40)
  cluster.clock.advance(1000)
  deliver(cluster, challenge())
  assert.equal(cluster.network.sent.length, 11)
  await cluster.stop([node])
})

test('recordings of thousands of boots neither fill memory nor push out a living peer', async () => {
  const { cluster, pair } = await record()
  const [first, second] = pair
  for (let boot = 0; boot < 2 * MAX_SENDERS; boot += 1) {
    const sealer = sealerOf(`dead ${boot}`)
    deliver(cluster, sealer.seal('changes', Buffer.alloc(1000, 1)))
  }
  for (let time = 0; time < 6000; time += 1) {
    deliver(cluster, sealerOf('chatty').seal('changes', Buffer.alloc(1300, time)))
  }
  assert.ok(second.replicator.senderCount <= MAX_SENDERS)
  assert.ok(second.replicator.pendingBytes <= 4 * 1024 * 1024)
  first.put('still here', 1000)
  cluster.clock.advance(0)
  assert.equal(second.ids.at(-1), 'still here')
  cluster.clock.advance(10_000)
  assert.equal(second.replicator.senderCount, 1)
  assert.equal(second.replicator.pendingBytes, 0)
  await cluster.stop(pair)
})

test('changes that overtake the proof are kept and applied with it, older ones dropped', async () => {
  const cluster = new MemoryCluster({ delayMs: 10 })
  const first = cluster.member(1, 0)
  const second = cluster.member(2, 0, { peers: [addressOf(1)] })
  await first.replicator.start()
  await second.replicator.start()
  // At 10 ms first answers second's challenge; at 20 ms second verifies first.
  await first.replicator.setPeers([addressOf(2)])
  first.put('before the proof', 1)
  cluster.clock.advance(12)
  first.put('on the way', 2)
  cluster.clock.advance(30)
  assert.deepEqual(second.ids, ['on the way'])
  assert.equal(second.replicator.stats.dropped.stale, 1)
  await cluster.stop([first, second])
})

function sealerOf(name: string): Sealer {
  return new Sealer(createIdentity(name, seededBytes(name)), TEST_KEYS)
}

function deliver(cluster: MemoryCluster, datagram: Buffer): void {
  cluster.network.deliver({ datagram, from: ATTACKER, to: addressOf(2) })
}

function sumBytes(passed: readonly Passed[]): number {
  return passed.reduce((sum, { datagram }) => sum + datagram.length, 0)
}
