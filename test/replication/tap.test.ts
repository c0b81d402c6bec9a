// Somebody on the path without a key, who sees every datagram and injects copies of it that arrive first, from
// another source address: nothing is resent to, asked of or called at an address that did not answer a challenge
// sent to it, and no change comes later.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatAddress, type HostAddress } from '../../src/base/address.ts'
import { addressOf, MemoryCluster } from '../support/memory-cluster.ts'
import type { Passed } from '../support/memory-network.ts'
import { RepeatedCluster, repeaterAddressOf } from '../support/repeated-cluster.ts'
import type { TestNode } from '../support/replication-node.ts'
import { ofKind } from '../support/wiretap.ts'

const VICTIM: HostAddress = { host: '10.9.9.9', port: 9999 }
const KEY_PREFIX = 'under-tap-'

interface Tap {
  bytesInjected: number
  /** Whether a datagram is raced by a copy from the victim's address. */
  isRaced: (passed: Passed) => boolean
  /** Whether a datagram is lost after the tap saw it. */
  isLost: (passed: Passed) => boolean
}

/** A tap on every path of the cluster; it races nothing until it is told to. */
function tap({ network }: MemoryCluster): Tap {
  const state: Tap = { bytesInjected: 0, isRaced: () => false, isLost: () => false }
  network.isLost = (passed) => {
    if (passed.from === VICTIM) return false
    if (state.isRaced(passed)) {
      state.bytesInjected += passed.datagram.length
      network.deliver({ ...passed, from: VICTIM })
    }
    return state.isLost(passed)
  }
  return state
}

function isFrom(number: number): (passed: Passed) => boolean {
  const text = formatAddress(addressOf(number))
  return (passed) => formatAddress(passed.from) === text
}

function bytesTo(cluster: MemoryCluster, address: HostAddress): number {
  const text = formatAddress(address)
  return cluster.network.sent
    .filter(({ to }) => formatAddress(to) === text)
    .reduce((sum, { datagram }) => sum + datagram.length, 0)
}

function isChange({ datagram }: Passed): boolean {
  return datagram[3] === 0
}

function putMany(node: TestNode, count: number): void {
  for (let number = 0; number < count; number += 1) {
    node.put(`${KEY_PREFIX}${number}`, number + 1, { session: Buffer.alloc(600, number) })
  }
}

test('a tap gets a third party no more bytes than it injects, and every repair goes to its asker', async () => {
  const cluster = new MemoryCluster({ delayMs: 1 })
  const wire = tap(cluster)
  const pair = await cluster.start(2)
  const [first, second] = pair
  assert.ok(first !== undefined && second !== undefined)
  wire.isRaced = isFrom(2)
  // Long enough for greetings of both sides under the tap.
  cluster.clock.advance(10_000)
  let isOutage = true
  wire.isLost = (passed) => isOutage && isChange(passed)
  putMany(first, 2000)
  cluster.clock.advance(1000)
  isOutage = false
  cluster.clock.advance(9000)
  const bytesOut = bytesTo(cluster, VICTIM)
  assert.ok(
    bytesOut <= wire.bytesInjected,
    `${bytesOut} bytes to the victim for ${wire.bytesInjected} injected`,
  )
  assert.equal(second.newest.size, 2000, 'repairs did not arrive')
  await cluster.stop(pair)
})

test('a tap delays no change: a lost one is asked for where its sender is', async () => {
  const cluster = new MemoryCluster({ delayMs: 1 })
  const wire = tap(cluster)
  const pair = await cluster.start(2)
  const [first, second] = pair
  assert.ok(first !== undefined && second !== undefined)
  cluster.clock.advance(5000)
  wire.isRaced = isFrom(1)
  let worstMs = 0
  for (let round = 0; round < 20; round += 1) {
    let toLose = 1
    wire.isRaced = (passed) => isFrom(1)(passed) && !isChange(passed)
    wire.isLost = (passed) => {
      if (!isChange(passed) || toLose === 0) return false
      toLose -= 1
      return true
    }
    first.put(`${KEY_PREFIX}${round}`, round + 1)
    let waitedMs = 0
    for (; second.newest.size <= round && waitedMs < 5000; waitedMs += 1) cluster.clock.advance(1)
    worstMs = Math.max(worstMs, waitedMs)
    cluster.clock.advance(777)
  }
  assert.ok(worstMs <= 20, `a change was ${worstMs} ms late`)
  const nacks = ofKind(cluster.network.sent, 'nack')
  assert.ok(nacks.length >= 20)
  assert.ok(nacks.every(({ to }) => to !== VICTIM))
  await cluster.stop(pair)
})

test('nodes that list each other find each other although a tap is first with everything', async () => {
  const cluster = new MemoryCluster({ delayMs: 1 })
  const wire = tap(cluster)
  wire.isRaced = () => true
  const pair = await cluster.start(2)
  const [first, second] = pair
  assert.ok(first !== undefined && second !== undefined)
  cluster.clock.advance(30_000)
  first.put('a', 1)
  second.put('b', 2)
  cluster.clock.advance(100)
  assert.deepEqual([first.ids, second.ids], [['b'], ['a']])
  const status = first.replicator.peers()
  assert.deepEqual(
    status.map(({ address, isUp }) => [address, isUp]),
    [['10.0.0.2:7171', true]],
  )
  assert.ok(bytesTo(cluster, VICTIM) <= wire.bytesInjected)
  await cluster.stop(pair)
})

test('a peer is called over TCP only where it answered a challenge sent to it', async () => {
  const cluster = new MemoryCluster({ delayMs: 1 })
  const wire = tap(cluster)
  wire.isRaced = isFrom(2)
  const pair = await cluster.start(2)
  const [first] = pair
  assert.ok(first !== undefined)
  cluster.clock.advance(10_000)
  const proven = first.replicator.verifiedSenders().map(({ provenAddress }) => provenAddress)
  assert.deepEqual(proven, [addressOf(2)])
  await cluster.stop(pair)
})

test('a member of a group that answers from its own address is called and repaired there after a challenge to it', async () => {
  const cluster = new MemoryCluster({ delayMs: 1 })
  const group = { host: '225.1.1.1', port: 7171 }
  const members = [1, 2].map((number) =>
    cluster.member(number, 0, {
      transport: cluster.network.transport(addressOf(number), group),
    }),
  )
  for (const member of members) await member.replicator.start()
  cluster.clock.advance(20)
  const [first, second] = members
  assert.ok(first !== undefined && second !== undefined)
  assert.deepEqual(
    first.replicator.verifiedSenders().map(({ provenAddress }) => provenAddress),
    [addressOf(2)],
  )
  assert.deepEqual([first.verified, second.verified], [['node-2'], ['node-1']])
  await cluster.stop(members)
})

test('a node subscribes to its repeater although a tap is first with everything', async () => {
  const cluster = new RepeatedCluster({ delayMs: 1 })
  const wire = tap(cluster)
  wire.isRaced = () => true
  const { repeater } = await cluster.repeater(1)
  const members = await cluster.startBehind(2, 1)
  cluster.clock.advance(5000)
  assert.deepEqual(
    repeater
      .subscriptions()
      .map(({ address }) => formatAddress(address))
      .sort(),
    ['10.0.0.1:7171', '10.0.0.2:7171'],
  )
  members[0]?.put('a', 1)
  cluster.clock.advance(100)
  assert.deepEqual(members[1]?.ids, ['a'])
  assert.ok(bytesTo(cluster, VICTIM) <= wire.bytesInjected)
  assert.ok(bytesTo(cluster, repeaterAddressOf(1)) > 0)
  await cluster.stop(members)
  await repeater.stop()
})

test('a tap that hands challenges on to a peer moves no repairs of it to a third party', async () => {
  const cluster = new MemoryCluster({ delayMs: 1 })
  const wire = tap(cluster)
  const pair = await cluster.start(2)
  const [first, second] = pair
  assert.ok(first !== undefined && second !== undefined)
  // What is sent to the victim is seen, too, and goes to the peer as if the node had sent it there.
  const victim = cluster.network.transport(VICTIM)
  await victim.start((datagram, from) => {
    const passed = { datagram, from, to: addressOf(2) }
    if (isChange(passed)) return
    wire.bytesInjected += datagram.length
    cluster.network.deliver(passed)
  })
  wire.isRaced = isFrom(2)
  let isOutage = false
  wire.isLost = (passed) => isOutage && isChange(passed)
  const proven = new Set<string>()
  for (let round = 0; round < 40; round += 1) {
    isOutage = true
    for (let number = 0; number < 100; number += 1) {
      const session = Buffer.alloc(600, number)
      first.put(`${KEY_PREFIX}${round}-${number}`, 100 * round + number + 1, { session })
    }
    cluster.clock.advance(100)
    isOutage = false
    cluster.clock.advance(333)
    for (const { provenAddress } of first.replicator.verifiedSenders()) {
      if (provenAddress !== undefined) proven.add(formatAddress(provenAddress))
    }
  }
  cluster.clock.advance(5000)
  const bytesOut = bytesTo(cluster, VICTIM)
  assert.ok(
    bytesOut <= wire.bytesInjected,
    `${bytesOut} bytes to the victim for ${wire.bytesInjected} injected`,
  )
  assert.deepEqual([...proven], [formatAddress(addressOf(2))])
  assert.equal(second.newest.size, 4000, 'repairs did not arrive')
  await victim.stop()
  await cluster.stop(pair)
})

test('a tap that hands challenges on to a subscriber leads no stream to a third party', async () => {
  const cluster = new RepeatedCluster({ delayMs: 1 })
  const wire = tap(cluster)
  const { repeater } = await cluster.repeater(1)
  const members = await cluster.startBehind(2, 1)
  const victim = cluster.network.transport(VICTIM)
  await victim.start((datagram, from) => {
    const passed = { datagram, from, to: addressOf(1) }
    if (isChange(passed)) return
    wire.bytesInjected += datagram.length
    cluster.network.deliver(passed)
  })
  wire.isRaced = (passed) => isFrom(1)(passed) && !isChange(passed)
  const [first, second] = members
  assert.ok(first !== undefined && second !== undefined)
  for (let round = 0; round < 200; round += 1) {
    for (let number = 0; number < 20; number += 1) {
      const session = Buffer.alloc(600, number)
      second.put(`${KEY_PREFIX}${round}-${number}`, 20 * round + number + 1, { session })
    }
    cluster.clock.advance(50)
  }
  const bytesOut = bytesTo(cluster, VICTIM)
  assert.ok(
    bytesOut <= wire.bytesInjected,
    `${bytesOut} bytes to the victim for ${wire.bytesInjected} injected`,
  )
  assert.equal(first.newest.size, 4000)
  await victim.stop()
  await cluster.stop(members)
  await repeater.stop()
})
