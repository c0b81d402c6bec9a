// What bounds loss repair: many receivers of one loss, replayed and redirected NACKs, greedy peers, and
// the tables behind it.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ByteBudget } from '../../src/replication/live/budgets.ts'
import {
  RESEND_BURST_BYTES,
  RESEND_BYTES_PER_SEC,
  RecentResends,
} from '../../src/replication/repair/answerer.ts'
import { spreadDelayMs } from '../../src/replication/repair/asker.ts'
import { GapList, MAX_GAPS } from '../../src/replication/repair/gap-list.ts'
import { ResendLog } from '../../src/replication/repair/resend-log.ts'
import { MIN_DATAGRAM_BYTES, SEAL_OVERHEAD_BYTES } from '../../src/wire/datagram.ts'
import { createIdentity } from '../../src/wire/identity.ts'
import { generateKey, parseKeyring, publicKeyring } from '../../src/wire/keyring.ts'
import {
  decodeMessage,
  encodeGreeting,
  encodeNack,
  MAX_NACK_RANGES,
  MAX_NACK_SEQUENCES,
} from '../../src/wire/message.ts'
import { ReplayWindow, type SequenceRange } from '../../src/wire/replay-window.ts'
import { Sealer } from '../../src/wire/seal.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { addressOf, type Member, MemoryCluster } from '../support/memory-cluster.ts'
import type { Passed } from '../support/memory-network.ts'
import { TEST_KEYS, TestNode } from '../support/replication-node.ts'
import { seededBytes } from '../support/seeded-random.ts'
import { headerOf, messageOf, ofKind } from '../support/wiretap.ts'

const KEYS = { current: publicKeyring() }
const GROUP = { host: '239.1.1.1', port: 7171 }

test('a hundred receivers of one multicast loss cost a few NACKs and a few repairs', async () => {
  const cluster = new MemoryCluster({ delayMs: 1 })
  const members = Array.from(
    { length: 101 },
    (_, index) =>
      new TestNode({
        name: `node-${index + 1}`,
        transport: cluster.network.transport(addressOf(index + 1), GROUP),
        clock: cluster.clock,
      }),
  )
  // One after the other: a hundred answers at a time, not ten thousand.
  for (const member of members) {
    await member.replicator.start()
    cluster.clock.advance(5)
  }
  const [sender, ...receivers] = members
  assert.ok(receivers.every(({ replicator }) => replicator.peers().length === 100))
  // The datagram is lost before the switch: nobody gets it. The fourth time, only half of them miss it.
  for (const round of [1, 2, 3, 4]) {
    const before = cluster.network.sent.length
    let isFirst = true
    cluster.network.isLost = (passed, receiver) => {
      if (headerOf(passed).channel !== 'changes' || !isFirst) return false
      if (receiver.host === '10.0.0.101') isFirst = false
      return round < 4 || Number(receiver.host.split('.')[3]) % 2 === 0
    }
    sender?.put(`lost ${round}`, 2 * round)
    cluster.clock.advance(1)
    sender?.put(`next ${round}`, 2 * round + 1)
    cluster.clock.advance(100)
    const tape = cluster.network.sent.slice(before)
    const nacks = ofKind(tape, 'nack')
    const repairs = ofKind(tape, 'changes').length - 2
    assert.ok(receivers.every(({ ids }) => ids.includes(`lost ${round}`)))
    assert.ok(nacks.length >= 1 && nacks.length <= 8, `${nacks.length} NACKs`)
    assert.ok(repairs >= 1 && repairs <= 3, `${repairs} repairs`)
    assert.ok(
      nacks.every(({ to }) => to.host === '10.0.0.1'),
      'a NACK went to the group',
    )
  }
  await cluster.stop(members)
})

/** Two nodes, and a peer whose datagrams the test seals itself: a colleague of theirs that is verified. */
async function withStranger() {
  const cluster = new MemoryCluster()
  const members = (await cluster.start(2)) as [Member, Member]
  const address = addressOf(9)
  const inbox: Passed[] = []
  const stranger = cluster.network.transport(address)
  await stranger.start((datagram, from) => inbox.push({ datagram, from, to: address }))
  const sealer = new Sealer(createIdentity('stranger', seededBytes('stranger')), TEST_KEYS)
  const say = (message: Buffer, to: number, from = address) => {
    const passed = { datagram: sealer.seal('control', message), from, to: addressOf(to) }
    cluster.network.deliver(passed)
    cluster.clock.advance(0)
    return passed
  }
  const greet = (challenge: Buffer | undefined, answer: Buffer | undefined, to: number) =>
    say(
      encodeGreeting({
        challenge,
        answer,
        changesSequence: 0,
        sentWallMs: 1,
        nodeName: 'stranger',
      }),
      to,
    )
  const verify = () => {
    for (const number of [1, 2]) {
      greet(Buffer.alloc(16, 1), undefined, number)
      const greeting = inbox.map(messageOf).findLast((message) => message.kind === 'greeting')
      assert.ok(greeting?.kind === 'greeting')
      greet(undefined, greeting.challenge, number)
    }
    inbox.length = 0
  }
  const nackOf = (member: Member, ranges: readonly SequenceRange[]) =>
    encodeNack({ bootId: member.identity.bootId, ranges })
  return { cluster, members, inbox, say, verify, nackOf }
}

test('a NACK is answered once, to a verified peer only, where it proved to be alive', async () => {
  const { cluster, members, inbox, say, verify, nackOf } = await withStranger()
  const [first, second] = members
  first.put('a', 1)
  second.put('b', 1)
  cluster.clock.advance(100)
  const nack = nackOf(first, [{ from: 1, to: 1 }])
  say(nack, 1)
  assert.equal(inbox.length, 0, 'an unverified peer got an answer')
  assert.equal(first.replicator.stats.dropped.stale, 1)
  verify()
  const asked = say(nack, 1)
  assert.equal(inbox.length, 1)
  // Played again, to the same node and to another, from the same address and from a victim's.
  for (const from of [addressOf(9), { host: '10.6.6.6', port: 53 }]) {
    cluster.clock.advance(1000)
    const sentBefore = cluster.network.sent.length
    for (const to of [addressOf(1), addressOf(2)]) {
      cluster.network.deliver({ ...asked, from, to })
    }
    cluster.clock.advance(0)
    assert.equal(cluster.network.sent.length, sentBefore)
  }
  assert.equal(first.replicator.stats.dropped.replay, 2)
  // Captured before it arrived: it asks for nothing of another node.
  assert.deepEqual(
    [second.replicator.stats.dropped.stale, second.replicator.stats.dropped.replay],
    [1, 1],
  )
  // Captured and sent under another source: the answer goes to the peer all the same.
  const heardBefore = inbox.length
  say(nack, 1, { host: '10.6.6.6', port: 53 })
  assert.equal(inbox.length - heardBefore, 1)
  assert.ok(cluster.network.sent.every(({ to }) => to.host !== '10.6.6.6'))
  await cluster.stop(members)
})

test('no datagram goes to one peer twice within a round trip, however often it asks', async () => {
  const { cluster, members, inbox, say, verify, nackOf } = await withStranger()
  const [first] = members
  for (let number = 1; number <= 10; number += 1) {
    first.put(`id-${number}`, number)
    cluster.clock.advance(0)
  }
  verify()
  const nack = nackOf(first, [
    { from: 1, to: 5 },
    { from: 3, to: 10 },
  ])
  for (let time = 0; time < 20; time += 1) say(nack, 1)
  assert.equal(inbox.length, 10)
  cluster.clock.advance(3)
  say(nack, 1)
  assert.equal(inbox.length, 20)
  await cluster.stop(members)
})

test('repairs are paced: a burst, and then so many bytes a second', async () => {
  const { cluster, members, inbox, say, verify, nackOf } = await withStranger()
  const [first] = members
  const session = Buffer.alloc(1200)
  for (let number = 1; number <= 2000; number += 1) first.put(`id-${number}`, number, { session })
  cluster.clock.advance(0)
  verify()
  const bytes = () => inbox.reduce((sum, { datagram }) => sum + datagram.length, 0)
  const greedily = () => {
    for (let from = 1; from <= 2000; from += MAX_NACK_SEQUENCES) {
      say(nackOf(first, [{ from, to: from + MAX_NACK_SEQUENCES - 1 }]), 1)
    }
  }
  greedily()
  assert.ok(bytes() <= RESEND_BURST_BYTES && bytes() > 0.9 * RESEND_BURST_BYTES)
  for (let ms = 1; ms <= 100; ms += 1) {
    cluster.clock.advance(1)
    greedily()
  }
  const paced = RESEND_BURST_BYTES + RESEND_BYTES_PER_SEC / 10
  assert.ok(bytes() <= paced && bytes() > 0.9 * paced, `${bytes()} of ${paced}`)
  await cluster.stop(members)
})

test('an answer that something is gone is shorter than any NACK', async () => {
  const { cluster, members, inbox, say, verify, nackOf } = await withStranger()
  const [first] = members
  first.put('a', 1)
  cluster.clock.advance(31_000)
  verify()
  const nack = say(nackOf(first, [{ from: 1, to: 1 }]), 1)
  const [gone] = inbox
  assert.ok(gone !== undefined && inbox.length === 1)
  assert.deepEqual(messageOf(gone), { kind: 'gone', changesSequence: 1 })
  assert.ok(gone.datagram.length < nack.datagram.length)
  // What was never sent is not gone.
  say(nackOf(first, [{ from: 2, to: 9 }]), 1)
  assert.equal(inbox.length, 1)
  await cluster.stop(members)
})

test('the log gives back what was sent, newest bytes first, within its bounds', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 100, max: 2000 }),
      fc.array(fc.integer({ min: 1, max: 300 }), { maxLength: 100 }),
      (maxBytes, sizes) => {
        const log = new ResendLog(new FakeClock(), KEYS, maxBytes)
        for (const [index, size] of sizes.entries()) {
          log.add(Buffer.alloc(size, index + 1))
          let bytes = 0
          for (let sequence = log.first; sequence <= index + 1; sequence += 1) {
            assert.deepEqual(log.get(sequence), Buffer.alloc(sizes[sequence - 1] ?? 0, sequence))
            bytes += sizes[sequence - 1] ?? 0
          }
          assert.ok(bytes <= maxBytes)
          assert.equal(log.get(log.first - 1), undefined)
          assert.equal(log.get(index + 2), undefined)
          // Nothing goes before it must: at most one piece of the ring's end stays unused.
          const next = sizes[log.first - 2] ?? 0
          assert.ok(log.first === 1 || bytes + next + 300 > maxBytes)
        }
      },
    ),
  )
})

test('the log forgets after thirty seconds, and counts on', () => {
  const clock = new FakeClock()
  const log = new ResendLog(clock, KEYS, 1000)
  log.add(Buffer.from('a'))
  clock.advance(20_000)
  log.add(Buffer.from('b'))
  clock.advance(10_000)
  assert.deepEqual(log.get(1), Buffer.from('a'))
  clock.advance(1)
  assert.equal(log.get(1), undefined)
  assert.deepEqual(log.get(2), Buffer.from('b'))
  clock.advance(60_000)
  assert.equal(log.first, 3)
  log.add(Buffer.alloc(1001))
  log.add(Buffer.from('d'))
  assert.equal(log.get(3), undefined)
  assert.deepEqual(log.get(4), Buffer.from('d'))
})

test('the log forgets what was sealed with a key that left the ring', () => {
  const [old, next] = [generateKey(seededBytes('old')), generateKey(seededBytes('next'))]
  const keys = { current: parseKeyring(old) }
  const log = new ResendLog(new FakeClock(), keys, 1000)
  log.add(Buffer.from('a'))
  keys.current = parseKeyring(`${next}\n${old}`)
  log.add(Buffer.from('b'))
  assert.deepEqual(log.get(1), Buffer.from('a'))
  keys.current = parseKeyring(next)
  assert.equal(log.get(1), undefined)
  assert.equal(log.lengthOf(1), 0)
  assert.deepEqual(log.get(2), Buffer.from('b'))
  assert.equal(log.first, 2)
})

test('the log holds as many datagrams as receivers tell apart', () => {
  const log = new ResendLog(new FakeClock(), KEYS, 1024 * 1024)
  for (let sequence = 1; sequence <= 70_000; sequence += 1) log.add(Buffer.from([sequence % 251]))
  assert.equal(log.first, 70_001 - 65_536)
  assert.deepEqual(log.get(log.first), Buffer.from([log.first % 251]))
  assert.deepEqual(log.get(70_000), Buffer.from([70_000 % 251]))
})

test('gaps are asked for in the order of their age, as much as one NACK holds, never twice at once', () => {
  const window = new ReplayWindow()
  const gaps = new GapList()
  const lose = (from: number, to: number) => {
    window.accept(to + 1)
    gaps.add({ from, to }, 0, 2)
  }
  lose(1, 700)
  lose(702, 710)
  const take = (nowMs: number) => gaps.takeDue(window, nowMs, (attempts) => 10 * attempts).ranges
  assert.deepEqual(take(1), [])
  assert.deepEqual(take(2), [{ from: 1, to: 512 }])
  assert.deepEqual(take(4), [
    { from: 513, to: 700 },
    { from: 702, to: 710 },
  ])
  assert.deepEqual(take(6), [])
  assert.equal(gaps.dueMs, 12)
  for (let sequence = 1; sequence <= 700; sequence += 1) {
    assert.equal(gaps.wasAsked(sequence), true)
    window.accept(sequence)
  }
  assert.equal(gaps.wasAsked(701), false)
  assert.deepEqual(take(14), [{ from: 702, to: 710 }])
  assert.equal(gaps.dueMs, 34, 'the second attempt waits longer')
  assert.equal(gaps.count, 1)
  assert.deepEqual(take(30_000), [{ from: 702, to: 710 }])
  assert.deepEqual(take(30_001), [])
  assert.deepEqual([gaps.count, window.lostCount, window.missingCount], [0, 9, 0])
})

test('however many gaps there are, the list stays short and all of them are asked for', () => {
  const window = new ReplayWindow()
  const gaps = new GapList()
  for (let sequence = 2; sequence <= 4000; sequence += 2) {
    window.accept(sequence)
    gaps.add({ from: sequence - 1, to: sequence - 1 }, 0, 0)
    assert.ok(gaps.count <= MAX_GAPS)
  }
  const asked = new Set<number>()
  for (let time = 0; time < 100; time += 1) {
    const { ranges } = gaps.takeDue(window, 10 * time, () => 5)
    for (const { from, to } of ranges) {
      assert.equal(from, to)
      asked.add(from)
      window.accept(from)
    }
    assert.ok(ranges.length <= 32 && gaps.count <= MAX_GAPS)
  }
  assert.equal(asked.size, 2000)
  assert.equal(gaps.count, 0)
})

test('a budget of bytes refills with time, up to the burst', () => {
  const clock = new FakeClock()
  const budget = new ByteBudget(clock, 1000, 500)
  assert.deepEqual([budget.take(400), budget.take(101), budget.take(100)], [true, false, true])
  clock.advance(100)
  assert.deepEqual([budget.take(101), budget.take(100), budget.take(1)], [false, true, false])
  clock.advance(60_000)
  assert.deepEqual([budget.take(501), budget.take(500)], [false, true])
})

test('recent resends are told for their interval; too many of them count as recent all', () => {
  const clock = new FakeClock()
  const recent = new RecentResends(clock)
  recent.note(1)
  assert.deepEqual([recent.isRecent(1, 5), recent.isRecent(2, 5)], [true, false])
  clock.advance(5)
  assert.equal(recent.isRecent(1, 5), false)
  for (let sequence = 1; sequence <= 4096; sequence += 1) recent.note(sequence)
  assert.equal(recent.isRecent(9999, 5), true)
  clock.advance(5)
  assert.equal(recent.isRecent(9999, 5), false)
  recent.note(9999)
  assert.deepEqual([recent.isRecent(9999, 5), recent.isRecent(1, 5)], [true, false])
})

test('NACKs of a large group are spread so that few come first', () => {
  const random = seededBytes('spread')
  const delays = Array.from({ length: 2000 }, () => spreadDelayMs(8, 100, random))
  assert.ok(delays.every((delay) => delay >= 0 && delay < 8))
  const early = delays.filter((delay) => delay < 2).length
  assert.ok(early > 0 && early < 60, `${early} of 2000 in the first quarter`)
  const alone = Array.from({ length: 2000 }, () => spreadDelayMs(8, 1, random))
  assert.ok(alone.filter((delay) => delay < 2).length > 250)
})

test('the largest NACK fits the smallest datagram', () => {
  const ranges = Array.from({ length: MAX_NACK_RANGES }, (_, index) => {
    const from = 2 ** 48 - 1 - 100 * index
    return { from, to: from + (index === 31 ? 480 : 0) }
  })
  const encoded = encodeNack({ bootId: Buffer.alloc(8, 255), ranges })
  assert.ok(encoded.length <= MIN_DATAGRAM_BYTES - SEAL_OVERHEAD_BYTES)
  const decoded = decodeMessage(encoded, 0)
  assert.ok(decoded?.kind === 'nack')
  assert.deepEqual(decoded.ranges, ranges)
})
