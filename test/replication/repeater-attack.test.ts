// What somebody without the key can make a repeater do, and somebody with recordings: nothing but count.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { HostAddress } from '../../src/base/address.ts'
import { MAX_SENDERS, Sender } from '../../src/replication/live/senders.ts'
import { GREETING_DATAGRAM_BYTES } from '../../src/replication/peers/greeter.ts'
import {
  MAX_SUBSCRIBERS,
  SUBSCRIPTION_LIFETIME_MS,
  Subscribers,
} from '../../src/replication/repeater/repeater.ts'
import type { RepeaterStats } from '../../src/replication/repeater/stats.ts'
import { MIN_DATAGRAM_BYTES, SEAL_OVERHEAD_BYTES } from '../../src/wire/datagram.ts'
import { createIdentity } from '../../src/wire/identity.ts'
import { Keyring } from '../../src/wire/keyring.ts'
import {
  encodeGreeting,
  encodeHeartbeat,
  encodeLeave,
  encodeNack,
  encodeRoster,
  type Message,
} from '../../src/wire/message.ts'
import { Sealer } from '../../src/wire/seal.ts'
import type { Member } from '../support/memory-cluster.ts'
import type { Passed } from '../support/memory-network.ts'
import { RepeatedCluster, repeaterAddressOf } from '../support/repeated-cluster.ts'
import { TEST_KEYRING } from '../support/replication-node.ts'
import { seededBytes } from '../support/seeded-random.ts'
import { messageOf } from '../support/wiretap.ts'

const VICTIM = { host: '10.6.6.6', port: 666 }
const REPEATER = repeaterAddressOf(1)

/** A repeater with two nodes, and all that came to it while they shared some sessions. */
async function record() {
  const cluster = new RepeatedCluster()
  const { repeater } = await cluster.repeater(1)
  const members = await cluster.startBehind(2, 1)
  for (let number = 1; number <= 20; number += 1) {
    members[0]?.put(`recorded ${number}`, number)
    cluster.clock.advance(1)
  }
  cluster.clock.advance(3000)
  const tape = cluster.network.sent.filter(({ to }) => to.host === REPEATER.host)
  return { cluster, repeater, members: members as [Member, Member], tape }
}

function sentTo(cluster: RepeatedCluster, address: HostAddress): Passed[] {
  return cluster.network.sent.filter(({ to }) => to.host === address.host)
}

function sumBytes(passed: readonly Passed[]): number {
  return passed.reduce((sum, { datagram }) => sum + datagram.length, 0)
}

function droppedSince(stats: RepeaterStats, before: RepeaterStats['dropped']) {
  return Object.fromEntries(
    Object.entries(stats.dropped)
      .map(([reason, count]) => [reason, count - before[reason as keyof typeof before]])
      .filter(([, count]) => count !== 0),
  )
}

/** Somebody who holds these keys, and seals what no node would. */
function sealerOf(name: string, keyring = TEST_KEYRING): Sealer {
  return new Sealer(createIdentity(name, seededBytes(name)), { current: keyring })
}

function greetingOf(role: 'subscriber' | undefined, answer?: Buffer): Buffer {
  return encodeGreeting({
    challenge: Buffer.alloc(16, 7),
    answer,
    changesSequence: 0,
    sentWallMs: 1,
    nodeName: 'mallory',
    ...(role === undefined ? {} : { role }),
  })
}

test('a subscription without the key never gets a datagram', async () => {
  const { cluster, repeater, members } = await record()
  const stranger = sealerOf('mallory', new Keyring([seededBytes('another key')(32)]))
  const before = { ...repeater.stats.dropped }
  for (let second = 0; second < 20; second += 1) {
    const datagram = stranger.seal('control', greetingOf('subscriber'))
    cluster.network.deliver({ datagram, from: VICTIM, to: REPEATER })
    cluster.network.deliver({ datagram: Buffer.alloc(448, second), from: VICTIM, to: REPEATER })
    members[0].put(`secret ${second}`, 100 + second)
    cluster.clock.advance(1000)
  }
  assert.deepEqual(sentTo(cluster, VICTIM), [])
  assert.deepEqual(droppedSince(repeater.stats, before), { unauthenticated: 20, malformed: 20 })
  assert.equal(repeater.subscriptions().length, 2)
  await cluster.stop(members)
})

test('recorded traffic is passed on to nobody, and answered by nothing', async () => {
  const { cluster, repeater, members, tape } = await record()
  const before = { ...repeater.stats.dropped }
  const sentBefore = cluster.network.sent.length
  for (const { datagram, from } of tape) {
    cluster.network.deliver({ datagram, from: VICTIM, to: REPEATER })
    cluster.network.deliver({ datagram, from, to: REPEATER })
  }
  assert.equal(cluster.network.sent.length, sentBefore)
  assert.deepEqual(droppedSince(repeater.stats, before), { replay: 2 * tape.length })
  await cluster.stop(members)
})

test('a repeater that started again gives a recording one greeting of the same size, and no more', async () => {
  const { cluster, repeater, members, tape } = await record()
  await cluster.stop(members)
  await repeater.stop()
  cluster.clock.advance(3_600_000)
  const again = await cluster.repeater(1, { boot: 2 })
  for (let time = 0; time < 3; time += 1) {
    for (const { datagram } of tape) {
      cluster.network.deliver({ datagram, from: VICTIM, to: REPEATER })
    }
  }
  cluster.clock.advance(10_000)
  const answers = sentTo(cluster, VICTIM)
  const asked = tape.filter(({ datagram }) => datagram.length === GREETING_DATAGRAM_BYTES)
  assert.ok(answers.every(({ datagram }) => datagram.length === GREETING_DATAGRAM_BYTES))
  assert.ok(sumBytes(answers) <= sumBytes(asked))
  assert.equal(again.repeater.subscriptions().length, 0)
  assert.equal(again.repeater.stats.datagramsPassed, 0)
  assert.equal(again.repeater.senderCount, 0)
  await again.repeater.stop()
})

test('nobody can have the stream sent to an address that did not get the challenge', async () => {
  const cluster = new RepeatedCluster()
  const { repeater } = await cluster.repeater(1)
  // Whatever this node sends to the repeater arrives as if the victim had sent it, after the first greeting.
  let greetings = 0
  const node = cluster.subscriber(1, 1)
  cluster.network.isLost = ({ datagram, from, to }) => {
    if (to.host !== REPEATER.host || from.host === VICTIM.host) return false
    greetings += 1
    if (greetings === 1) return false
    cluster.network.deliver({ datagram, from: VICTIM, to })
    return true
  }
  await node.replicator.start()
  cluster.clock.advance(20)
  assert.equal(repeater.subscriptions().length, 0)
  assert.equal(repeater.stats.dropped.stale, 1)
  assert.ok(sentTo(cluster, VICTIM).every(({ datagram }) => datagram.length === 448))
  await cluster.stop([node])
})

test('a subscription ends when its proofs do, and nothing of its sender is passed on then', async () => {
  const { cluster, repeater, members } = await record()
  cluster.network.isLost = ({ datagram, from, to }) =>
    from.host === members[0].transport.address.host &&
    to.host === REPEATER.host &&
    datagram.length === GREETING_DATAGRAM_BYTES
  cluster.clock.advance(SUBSCRIPTION_LIFETIME_MS + 2000)
  assert.deepEqual(
    repeater.subscriptions().map(({ sender }) => sender.nodeName),
    ['node-2'],
  )
  const before = repeater.stats.dropped.unsubscribed
  members[0].put('too late', 1000)
  cluster.clock.advance(0)
  // It has noticed, and sends directly: somebody brings that to the repeater.
  const change = cluster.network.sent.at(-1)
  assert.ok(change !== undefined && change.to.host === members[1].transport.address.host)
  cluster.network.deliver({ ...change, to: REPEATER })
  assert.equal(repeater.stats.dropped.unsubscribed, before + 1)
  await cluster.stop(members)
})

test('messages that are not for a repeater are counted by their reason', async () => {
  const { cluster, repeater, members } = await record()
  const sealer = sealerOf('mallory')
  const before = { ...repeater.stats.dropped }
  const bootId = Buffer.alloc(8, 9)
  const sent: readonly (readonly ['changes' | 'control', Buffer])[] = [
    ['control', encodeNack({ bootId, ranges: [{ from: 1, to: 1 }] })],
    ['control', encodeRoster([VICTIM])],
    ['control', encodeHeartbeat(1)],
    ['control', encodeLeave(bootId)],
    ['control', Buffer.from('no message')],
    ['control', greetingOf('subscriber', Buffer.alloc(16, 3))],
    ['changes', Buffer.from('whatever it is, its sender did not subscribe')],
  ]
  for (const [channel, message] of sent) {
    cluster.network.deliver({
      datagram: sealer.seal(channel, message),
      from: VICTIM,
      to: REPEATER,
    })
  }
  assert.deepEqual(droppedSince(repeater.stats, before), {
    unexpected: 2,
    unsubscribed: 2,
    stale: 2,
    malformed: 1,
  })
  assert.equal(repeater.subscriptions().length, 2)
  await cluster.stop(members)
})

test('a roster counts only of a repeater that was asked for', async () => {
  const { cluster, members } = await record()
  const [node] = members
  const before = node.replicator.stats.dropped.stale
  const datagram = sealerOf('mallory').seal('control', encodeRoster([VICTIM]))
  cluster.network.deliver({ datagram, from: REPEATER, to: node.transport.address })
  cluster.clock.advance(5000)
  assert.equal(node.replicator.stats.dropped.stale, before + 1)
  assert.deepEqual(sentTo(cluster, VICTIM), [])
  await cluster.stop(members)
})

test('recorded boots do not fill the table, nor push out subscribers', async () => {
  const { cluster, repeater, members } = await record()
  for (let boot = 0; boot < 2 * MAX_SENDERS; boot += 1) {
    const datagram = sealerOf(`boot ${boot}`).seal('control', greetingOf('subscriber'))
    cluster.network.deliver({ datagram, from: VICTIM, to: REPEATER })
    assert.ok(repeater.senderCount <= MAX_SENDERS)
  }
  assert.equal(repeater.subscriptions().length, 2)
  members[0].put('still passed on', 1000)
  cluster.clock.advance(0)
  assert.equal(members[1].ids.at(-1), 'still passed on')
  await cluster.stop(members)
})

function senderOf(number: number): Sender {
  return new Sender(createIdentity(`node ${number}`, seededBytes(`${number}`)), VICTIM, 0)
}

test('subscribers are bounded, one to an address, and every roster fits the smallest datagram', () => {
  const subscribers = new Subscribers()
  const senders = Array.from({ length: MAX_SUBSCRIBERS + 1 }, (_, number) => senderOf(number))
  const accepted = senders.map((sender, number) =>
    subscribers.renew(
      sender,
      { host: `2001:db8:1111:2222:3333:4444:5555:${(number + 4096).toString(16)}`, port: 65_535 },
      number,
    ),
  )
  assert.deepEqual(accepted.indexOf(false), MAX_SUBSCRIBERS)
  assert.equal(subscribers.count, MAX_SUBSCRIBERS)
  const [first, second] = senders
  assert.ok(first !== undefined && second !== undefined)
  const rosters = subscribers.rostersFor(first)
  assert.equal(rosters.flat().length, MAX_SUBSCRIBERS - 1)
  for (const roster of rosters) {
    const bytes = encodeRoster(roster).length + SEAL_OVERHEAD_BYTES
    assert.ok(bytes <= MIN_DATAGRAM_BYTES, `${bytes}`)
  }
  const { address } = [...subscribers.all()][0] ?? { address: VICTIM }
  const restarted = senderOf(9999)
  assert.equal(subscribers.renew(restarted, address, 1000), true)
  assert.equal(subscribers.has(first), false)
  assert.equal(subscribers.count, MAX_SUBSCRIBERS)
  assert.deepEqual(
    subscribers.expired(SUBSCRIPTION_LIFETIME_MS + 2).map(({ bootId }) => bootId),
    [second.bootId],
  )
})

test('an address with a zone is told to nobody', () => {
  const subscribers = new Subscribers()
  const [one, two] = [senderOf(1), senderOf(2)]
  subscribers.renew(one, { host: 'fe80::1%eth0', port: 7171 }, 0)
  assert.deepEqual(subscribers.rostersFor(two), [[]])
})

test('nodes greet the repeater as subscribers, and nobody else so', async () => {
  const { cluster, members } = await record()
  const roles = new Set<string>()
  for (const passed of cluster.network.sent) {
    if (passed.datagram[3] !== 1) continue
    const message: Message = messageOf(passed)
    if (message.kind !== 'greeting') continue
    roles.add(`${passed.from.host} to ${passed.to.host}: ${message.role ?? 'node'}`)
  }
  assert.deepEqual([...roles].sort(), [
    '10.0.0.1 to 10.0.0.2: node',
    '10.0.0.1 to 10.0.1.1: subscriber',
    '10.0.0.2 to 10.0.0.1: node',
    '10.0.0.2 to 10.0.1.1: subscriber',
    '10.0.1.1 to 10.0.0.1: repeater',
    '10.0.1.1 to 10.0.0.2: repeater',
  ])
  await cluster.stop(members)
})
