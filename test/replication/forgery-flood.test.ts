// A flood of forged datagrams: how many keys are derived for it, and that who has a key is served meanwhile.

import assert from 'node:assert/strict'
import type { KeyObject } from 'node:crypto'
import { test } from 'node:test'
import type { HostAddress } from '../../src/base/address.ts'
import { Keyring } from '../../src/wire/keyring.ts'
import { addressOf, MemoryCluster } from '../support/memory-cluster.ts'
import { TEST_KEYRING } from '../support/replication-node.ts'
import { seededBytes, seededNumbers } from '../support/seeded-random.ts'

const SECONDS = 10
const FORGED_PER_STEP = 100
const STEP_MS = 100
const FORGED = (SECONDS * 1000 * FORGED_PER_STEP) / STEP_MS

/** Counts what is expensive: deriving the key of a sender. */
class CountingKeyring extends Keyring {
  derived = 0

  constructor() {
    super([seededBytes('cluster key')(32)])
  }

  override senderKey(keyId: number, senderId: Uint8Array, bootId: Uint8Array) {
    this.derived += 1
    return super.senderKey(keyId, senderId, bootId) satisfies KeyObject | undefined
  }
}

const numbers = seededNumbers('sources')
const below = (limit: number) => Math.floor(numbers() * limit)

const ONE_HOST = () => ({ host: '198.51.100.7', port: 1 + below(65_000) })
const ANY_HOST = () => ({ host: `198.18.${below(256)}.${below(256)}`, port: 1 + below(65_000) })
const A_PEER = () => addressOf(3)

/** Where the flood comes from, most keys derived in ten seconds, whether it may hide a newcomer from anywhere. */
const floods: readonly [string, () => HostAddress, number, boolean][] = [
  ['from one host', ONE_HOST, 32 + 8 * (SECONDS + 1) + 20, true],
  ['from invented hosts', ANY_HOST, 64 * (32 + 8 * (SECONDS + 1)) + 20, false],
  ['in the name of a listed address', A_PEER, 32 + 8 * (SECONDS + 1) + 20, true],
]

for (const [name, source, mostDerived, isOpen] of floods) {
  test(`a flood ${name} costs little, and known and new peers are served meanwhile`, async () => {
    const random = seededBytes(`flood ${name}`)
    const cluster = new MemoryCluster({ delayMs: 1 })
    const keyring = new CountingKeyring()
    assert.equal(keyring.primaryKeyId, TEST_KEYRING.primaryKeyId)
    const peers = [addressOf(2), addressOf(4)]
    const flooded = cluster.member(1, 0, { peers, keyring })
    const known = cluster.member(2, 1)
    for (const { replicator } of [flooded, known]) await replicator.start()
    cluster.clock.advance(3000)
    const template = cluster.network.sent.find(
      ({ from }) => from.host === addressOf(2).host,
    )?.datagram
    assert.ok(template !== undefined)
    const forge = () => {
      const datagram = Buffer.from(template)
      random(16).copy(datagram, 8)
      cluster.network.deliver({ datagram, from: source(), to: addressOf(1) })
    }
    // One at an address that is listed, one that nobody knows.
    const newcomers = [cluster.member(4, 1), ...(isOpen ? [cluster.member(5, 1)] : [])]
    const derivedBefore = keyring.derived
    let puts = 0
    for (let passedMs = 0; passedMs < SECONDS * 1000; passedMs += STEP_MS) {
      for (let count = 0; count < FORGED_PER_STEP; count += 1) forge()
      if (passedMs === 5000) for (const { replicator } of newcomers) await replicator.start()
      puts += 1
      known.put(`session ${puts}`, puts)
      cluster.clock.advance(STEP_MS)
      assert.equal(flooded.applied.length, puts, 'what a known peer sends is there at once')
    }
    const derived = keyring.derived - derivedBefore
    const { unauthenticated, throttled } = flooded.replicator.stats.dropped
    assert.equal(unauthenticated + throttled, FORGED, 'nothing else was dropped for it')
    assert.ok(derived <= mostDerived, `${derived} keys for ${FORGED} datagrams`)
    const names = flooded.replicator
      .peers()
      .filter(({ isUp }) => isUp)
      .map((peer) => peer.name)
    assert.deepEqual(names.sort(), ['node-2', ...newcomers.map((_, index) => `node-${index + 4}`)])
    await cluster.stop([flooded, known, ...newcomers])
  })
}

test('a known sender is served although its header is on forged datagrams from elsewhere', async () => {
  const cluster = new MemoryCluster({ delayMs: 1 })
  const [first, second] = await cluster.start(2)
  assert.ok(first !== undefined && second !== undefined)
  const template = cluster.network.sent.find(
    ({ from }) => from.host === addressOf(2).host,
  )?.datagram
  assert.ok(template !== undefined)
  const { length } = template
  for (let count = 0; count < 1000; count += 1) {
    const datagram = Buffer.from(template)
    datagram.writeUInt32BE(count, length - 8)
    cluster.network.deliver({ datagram, from: ONE_HOST(), to: addressOf(1) })
  }
  assert.equal(first.replicator.stats.dropped.unauthenticated, 32)
  assert.equal(first.replicator.stats.dropped.throttled, 1000 - 32)
  second.put('still there', 1)
  cluster.clock.advance(10)
  assert.deepEqual(first.ids, ['still there'])
  await cluster.stop([first, second])
})

test('datagrams under a key that is not in the ring are told apart, however many come', async () => {
  const cluster = new MemoryCluster({ delayMs: 1 })
  const keyring = new Keyring([seededBytes('other keys')(32)])
  const ours = cluster.member(1, 2)
  const foreign = cluster.member(2, 2, { keyring })
  for (const { replicator } of [ours, foreign]) await replicator.start()
  for (let count = 0; count < 500; count += 1) foreign.put(`session ${count}`, count + 1)
  cluster.clock.advance(5000)
  assert.ok(ours.replicator.stats.dropped.unauthenticated > 40)
  assert.equal(ours.replicator.stats.dropped.throttled, 0)
  await cluster.stop([ours, foreign])
})
