// Nodes behind repeaters: one address in their configuration, every change everywhere, with one repeater,
// with two, and with none left.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { LISTED_LIFETIME_MS } from '../../src/replication/peers/addresses.ts'
import { SUBSCRIPTION_LIFETIME_MS } from '../../src/replication/repeater/repeater.ts'
import { Keyring } from '../../src/wire/keyring.ts'
import { addressOf, droppedTotal, type Member } from '../support/memory-cluster.ts'
import type { Passed } from '../support/memory-network.ts'
import { RepeatedCluster, repeaterAddressOf } from '../support/repeated-cluster.ts'
import { seededBytes, seededNumbers } from '../support/seeded-random.ts'

/** Long enough for every greeting, list and proof to come again. */
const SETTLE_MS = 20_000

function idsOf(members: readonly Member[]): string[][] {
  return members.map(({ newest }) => [...newest.keys()].map(fromHex).sort())
}

const fromHex = (id: string) => Buffer.from(id, 'hex').toString()

/** Where the datagrams with changes went that were sent by `send`. */
function destinationsOf(cluster: RepeatedCluster, send: () => void): string[] {
  const before = cluster.network.sent.length
  send()
  cluster.clock.advance(0)
  return cluster.network.sent
    .slice(before)
    .filter(({ datagram }) => datagram[3] === 0)
    .map(({ from, to }) => `${from.host} to ${to.host}`)
    .sort()
}

function first(members: readonly Member[]): Member {
  const [member] = members
  assert.ok(member !== undefined)
  return member
}

test('a change goes to the repeater once, and from there to all the others', async () => {
  const cluster = new RepeatedCluster()
  const { repeater } = await cluster.repeater(1)
  const members = await cluster.startBehind(3, 1)
  assert.deepEqual(
    destinationsOf(cluster, () => first(members).put('one', 1)),
    ['10.0.0.1 to 10.0.1.1', '10.0.1.1 to 10.0.0.2', '10.0.1.1 to 10.0.0.3'],
  )
  assert.deepEqual(idsOf(members.slice(1)), [['one'], ['one']])
  assert.equal(repeater.stats.datagramsPassed, 1)
  cluster.clock.advance(SETTLE_MS)
  assert.deepEqual(members.map(droppedTotal), [0, 0, 0])
  assert.deepEqual(
    members.map(({ replicator }) => replicator.joinState()),
    ['joined', 'joined', 'joined'],
  )
  // Nodes copy from nodes and compare with nodes, not with the repeater.
  assert.deepEqual(first(members).verified, ['node-2', 'node-3'])
  await cluster.stop(members)
  await repeater.stop()
  cluster.clock.advance(0)
  assert.equal(cluster.clock.pendingCount, 0)
})

test('a node whose lists are lost learns of those who find it, and goes on with them alone', async () => {
  const cluster = new RepeatedCluster({ delayMs: 1 })
  const { repeater, transport } = await cluster.repeater(1)
  const one = cluster.subscriber(1, 1)
  await one.replicator.start()
  cluster.clock.advance(3000)
  const two = cluster.subscriber(2, 1)
  await two.replicator.start()
  const isRoster = ({ datagram, from, to }: Passed) =>
    from.host === repeaterAddressOf(1).host && to.host === addressOf(1).host && datagram[3] === 1
  cluster.network.isLost = (passed) => isRoster(passed)
  cluster.clock.advance(3000)
  await transport.stop()
  cluster.clock.advance(SETTLE_MS)
  one.put('alone', 1)
  cluster.clock.advance(1)
  assert.deepEqual(two.ids, ['alone'])
  assert.equal(one.replicator.stats.dropped.replay, 0)
  await cluster.stop([one, two])
  await repeater.stop()
})

test('what the repeater lost is asked of its sender directly, and so is the tail', async () => {
  const cluster = new RepeatedCluster()
  await cluster.repeater(1)
  const members = await cluster.startBehind(3, 1)
  const [one, two] = members
  assert.ok(one !== undefined && two !== undefined)
  // Lost on the way from the repeater to the second node only.
  const lost = new Set([2, 5])
  let number = 0
  cluster.network.isLost = ({ datagram, from }, receiver) => {
    const isChange = datagram[3] === 0 && from.host === repeaterAddressOf(1).host
    if (!isChange || receiver.host !== addressOf(2).host) return false
    number += 1
    return lost.has(number)
  }
  for (let clock = 1; clock <= 5; clock += 1) {
    one.put(`session ${clock}`, clock)
    cluster.clock.advance(1)
  }
  cluster.clock.advance(50)
  assert.equal(two.newest.size, 5)
  assert.equal(two.replicator.stats.repaired, 2)
  assert.equal(one.replicator.stats.dropped.stale, 0, 'a nack went astray')
  await cluster.stop(members)
})

test('two repeaters: everything comes twice, which is no fault; one of them is enough', async () => {
  const cluster = new RepeatedCluster()
  const repeaters = [await cluster.repeater(1), await cluster.repeater(2)]
  const members = await cluster.startBehind(3, 2)
  first(members).put('one', 1)
  cluster.clock.advance(10)
  assert.deepEqual(
    members.slice(1).map(({ ids }) => ids),
    [['one'], ['one']],
  )
  for (const { replicator } of members.slice(1)) assert.ok(replicator.stats.duplicates > 0)
  await repeaters[0]?.transport.stop()
  first(members).put('two', 2)
  cluster.clock.advance(0)
  assert.deepEqual(idsOf(members.slice(1)), [
    ['one', 'two'],
    ['one', 'two'],
  ])
  cluster.clock.advance(SETTLE_MS)
  assert.deepEqual(members.map(droppedTotal), [0, 0, 0])
  assert.equal(repeaters[1]?.repeater.subscriptions().length, 3)
  await cluster.stop(members)
})

test('without any repeater nodes send directly, and through it again when it is back', async () => {
  const cluster = new RepeatedCluster()
  const { transport } = await cluster.repeater(1)
  const members = await cluster.startBehind(3, 1)
  await transport.stop()
  first(members).put('nobody passes it on', 1)
  cluster.clock.advance(200)
  assert.deepEqual(
    members.slice(1).map(({ newest }) => newest.size),
    [1, 1],
    'a heartbeat past the repeater shows what is missing',
  )
  cluster.clock.advance(LISTED_LIFETIME_MS + 1000)
  const directly = destinationsOf(cluster, () => first(members).put('directly', 2))
  assert.deepEqual(directly, [
    '10.0.0.1 to 10.0.0.2',
    '10.0.0.1 to 10.0.0.3',
    '10.0.0.1 to 10.0.1.1',
  ])
  const again = await cluster.repeater(1, { boot: 2 })
  cluster.clock.advance(3000)
  const through = destinationsOf(cluster, () => first(members).put('through it again', 3))
  assert.deepEqual(through, [
    '10.0.0.1 to 10.0.1.1',
    '10.0.1.1 to 10.0.0.2',
    '10.0.1.1 to 10.0.0.3',
  ])
  assert.deepEqual(
    members.slice(1).map(({ newest }) => newest.size),
    [3, 3],
  )
  assert.deepEqual(members.map(droppedTotal), [0, 0, 0])
  await cluster.stop(members)
  await again.repeater.stop()
})

test('a repeater that stops says so: nothing waits for a heartbeat', async () => {
  const cluster = new RepeatedCluster()
  const { repeater } = await cluster.repeater(1)
  const members = await cluster.startBehind(3, 1)
  await repeater.stop()
  cluster.clock.advance(0)
  first(members).put('directly', 1)
  cluster.clock.advance(0)
  assert.deepEqual(idsOf(members.slice(1)), [['directly'], ['directly']])
  await cluster.stop(members)
})

test('nodes behind different repeaters, and peers by address, get everything once at least', async () => {
  const cluster = new RepeatedCluster()
  await cluster.repeater(1)
  await cluster.repeater(2)
  const peers = [addressOf(1), addressOf(2)]
  const one = cluster.subscriber(1, 1, { peers })
  const two = cluster.subscriber(2, 0, { peers, repeaters: [repeaterAddressOf(2)] })
  for (const { replicator } of [one, two]) await replicator.start()
  cluster.clock.advance(2000)
  one.put('of one', 1)
  two.put('of two', 2)
  cluster.clock.advance(0)
  assert.deepEqual([one.ids, two.ids], [['of two'], ['of one']])
  await cluster.stop([one, two])
})

test('a subscriber that stops is gone at once, one that falls silent after some seconds', async () => {
  const cluster = new RepeatedCluster()
  const { repeater } = await cluster.repeater(1)
  const members = await cluster.startBehind(3, 1)
  const [one, two, three] = members
  assert.ok(one !== undefined && two !== undefined && three !== undefined)
  const subscribed = () =>
    repeater
      .subscriptions()
      .map(({ sender }) => sender.nodeName)
      .sort()
  await two.replicator.stop()
  cluster.clock.advance(0)
  assert.deepEqual(subscribed(), ['node-1', 'node-3'])
  await three.transport.stop()
  cluster.clock.advance(SUBSCRIPTION_LIFETIME_MS / 2)
  assert.deepEqual(subscribed(), ['node-1', 'node-3'])
  cluster.clock.advance(SUBSCRIPTION_LIFETIME_MS)
  assert.deepEqual(subscribed(), ['node-1'])
  await cluster.stop(members)
})

test('a node that starts again takes the place of its boot before', async () => {
  const cluster = new RepeatedCluster()
  const { repeater } = await cluster.repeater(1)
  const members = await cluster.startBehind(2, 1)
  const [one, two] = members
  assert.ok(one !== undefined && two !== undefined)
  await two.transport.stop()
  const again = cluster.subscriber(2, 1, { boot: 2 })
  await again.replicator.start()
  cluster.clock.advance(10)
  assert.equal(repeater.subscriptions().length, 2)
  cluster.clock.advance(1000)
  one.put('fresh', 1)
  cluster.clock.advance(0)
  assert.deepEqual(again.ids, ['fresh'])
  await cluster.stop([one, two, again])
})

test('a node alone behind a repeater says so at once; others that come later are met', async () => {
  const cluster = new RepeatedCluster()
  await cluster.repeater(1)
  const one = cluster.subscriber(1, 1)
  await one.replicator.start()
  assert.equal(one.replicator.joinState(), 'joining')
  cluster.clock.advance(10)
  assert.equal(one.replicator.joinState(), 'alone')
  const two = cluster.subscriber(2, 1)
  await two.replicator.start()
  cluster.clock.advance(10)
  assert.equal(two.replicator.joinState(), 'joined')
  cluster.clock.advance(2000)
  assert.equal(one.replicator.joinState(), 'joined')
  await cluster.stop([one, two])
})

test('repeaters are replaced while the node runs', async () => {
  const cluster = new RepeatedCluster()
  const old = await cluster.repeater(1)
  const members = await cluster.startBehind(2, 1)
  const next = await cluster.repeater(2)
  for (const { replicator } of members) await replicator.setRepeaters([repeaterAddressOf(2)])
  cluster.clock.advance(2000)
  assert.equal(old.repeater.subscriptions().length, 0)
  assert.equal(next.repeater.subscriptions().length, 2)
  assert.deepEqual(
    destinationsOf(cluster, () => first(members).put('one', 1)),
    ['10.0.0.1 to 10.0.1.2', '10.0.1.2 to 10.0.0.2'],
  )
  await cluster.stop(members)
})

test('keys rotate through a repeater without a loss', async () => {
  const cluster = new RepeatedCluster()
  const repeater = await cluster.repeater(1)
  const members = await cluster.startBehind(2, 1)
  const old = seededBytes('cluster key')(32)
  const fresh = seededBytes('another key')(32)
  const everybody = [repeater, ...members]
  let clock = 0
  for (const keys of [[old, fresh], [fresh, old], [fresh]]) {
    for (const one of everybody) {
      one.keys.current = new Keyring(keys)
      clock += 1
      first(members).put(`session ${clock}`, clock)
      cluster.clock.advance(100)
    }
  }
  // The repeater seals under the new key, too: subscriptions go on.
  cluster.clock.advance(SETTLE_MS)
  assert.deepEqual(
    destinationsOf(cluster, () => first(members).put('last', clock + 1)),
    ['10.0.0.1 to 10.0.1.1', '10.0.1.1 to 10.0.0.2'],
  )
  assert.deepEqual(
    members.map(({ newest }) => newest.size),
    [0, clock + 1],
  )
  assert.equal(repeater.repeater.stats.dropped.unauthenticated, 0)
  assert.deepEqual(members.map(droppedTotal), [0, 0])
  await cluster.stop(members)
})

test('a repeater in the list of peers passes nothing on and takes no part', async () => {
  const cluster = new RepeatedCluster()
  const { repeater } = await cluster.repeater(1)
  const mistaken = cluster.subscriber(1, 0, { peers: [repeaterAddressOf(1)] })
  await mistaken.replicator.start()
  cluster.clock.advance(2000)
  mistaken.put('one', 1)
  cluster.clock.advance(0)
  assert.equal(repeater.subscriptions().length, 0)
  assert.equal(repeater.stats.dropped.unsubscribed, 1)
  assert.equal(mistaken.replicator.joinState(), 'alone')
  await cluster.stop([mistaken])
})

const chaos = fc.record({
  seed: fc.string(),
  nodes: fc.integer({ min: 2, max: 4 }),
  repeaters: fc.constant(2),
  loss: fc.constantFrom(0, 0.01, 0.1, 0.3),
  duplication: fc.constantFrom(0, 0.1),
  reordering: fc.constantFrom(0, 0.25),
  steps: fc.array(
    fc.record({
      node: fc.nat(),
      id: fc.integer({ min: 1, max: 8 }),
      isRemove: fc.boolean(),
      /** A repeater that is stopped, or started again, before this. */
      toggled: fc.option(fc.nat(), { freq: 6 }),
      isKilled: fc.boolean(),
      waitMs: fc.constantFrom(0, 1, 10, 100, 900),
    }),
    { minLength: 1, maxLength: 40 },
  ),
})

test('whatever is lost, doubled, reordered or stopped, all nodes end with the same', async () => {
  await fc.assert(
    fc.asyncProperty(chaos, async ({ seed, nodes, repeaters, steps, ...network }) => {
      const cluster = new RepeatedCluster({ random: seededNumbers(seed), delayMs: 1, ...network })
      const running: (Awaited<ReturnType<typeof cluster.repeater>> | undefined)[] = []
      for (let number = 1; number <= repeaters; number += 1) {
        running.push(await cluster.repeater(number))
      }
      const members = await cluster.startBehind(nodes, repeaters)
      let clock = 0
      for (const { node, id, isRemove, toggled, isKilled, waitMs } of steps) {
        clock += 1
        if (toggled !== null) {
          const index = toggled % repeaters
          const stopped = running[index]
          running[index] =
            stopped === undefined
              ? await cluster.repeater(index + 1, { boot: clock + 1 })
              : undefined
          if (isKilled) await stopped?.transport.stop()
          await stopped?.repeater.stop()
        }
        const member = members[node % nodes]
        if (isRemove) member?.remove(`session ${id}`, clock)
        else member?.put(`session ${id}`, clock)
        cluster.clock.advance(waitMs)
      }
      cluster.clock.advance(SETTLE_MS)
      const states = members.map(stateOf)
      for (const state of states) assert.deepEqual(state, states[0])
      for (const { replicator, unrepairable } of members) {
        assert.deepEqual(unrepairable, [])
        const { malformed, unauthenticated, too_large } = replicator.stats.dropped
        assert.deepEqual([malformed, unauthenticated, too_large], [0, 0, 0])
      }
      await cluster.stop(members)
    }),
    // One repeater is in test/simulation; this is about two of them.
    { numRuns: 20, seed: 20_261_121 },
  )
})

/** The newest version of every session that this node knows of, whoever made it. */
function stateOf({ made, newest }: Member): Record<string, number> {
  const state: Record<string, number> = {}
  for (const [id, { version }] of [...made, ...newest]) {
    state[id] = Math.max(state[id] ?? 0, version.clock)
  }
  return state
}
