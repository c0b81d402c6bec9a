// What a node says of peers that go, that come back, and that never were: in its log, its list and its state.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  ALONE_WARNING_MS,
  ALONE_WARNING_PERIOD_MS,
  GONE_LIFETIME_MS,
} from '../../src/replication/peers/presence.ts'
import { addressOf, droppedTotal, MemoryCluster } from '../support/memory-cluster.ts'
import { RecordingLogger } from '../support/recording-logger.ts'

/** Two nodes that know each other, and the log of the first. */
async function startTwo() {
  const cluster = new MemoryCluster({ delayMs: 1 })
  const logger = new RecordingLogger()
  const first = cluster.member(1, 2, { logger })
  const second = cluster.member(2, 2)
  await first.replicator.start()
  await second.replicator.start()
  cluster.clock.advance(3000)
  const warnings = () =>
    logger.lines.filter(({ level }) => level === 'warn').map(({ message }) => message)
  const seen = () => first.replicator.peers().map(({ name, isUp }) => `${name} ${isUp}`)
  return { cluster, logger, first, second, warnings, seen }
}

test('after 453 s of silence a node says that it is alone, and since when', async () => {
  const { cluster, first, second, warnings, seen } = await startTwo()
  assert.equal(first.replicator.joinState(), 'joined')
  assert.deepEqual(seen(), ['node-2 true'])
  cluster.network.isLost = () => true
  cluster.clock.advance(12_000)
  assert.equal(first.replicator.joinState(), 'alone')
  assert.deepEqual(warnings(), [
    'peer node-2 has been silent for 11 s: nothing is replicated to it; ' +
      'check that UDP and TCP port 7171 are open between the nodes',
  ])
  for (let second = 0; second < 441; second += 1) {
    cluster.clock.advance(1000)
    assert.deepEqual(seen(), ['node-2 false'], 'it neither vanishes nor loses its name')
  }
  const [peer] = first.replicator.peers()
  assert.ok((peer?.lastSeenMs ?? 0) > 450_000 && peer?.isVerified === false)
  assert.ok(first.aloneCount > 400)
  // One when it fell silent, and two about nobody at all: after half a minute, and five minutes later.
  assert.equal(warnings().length, 3)
  assert.match(
    warnings()[1] ?? '',
    /^no peer has been heard for 3[0-3] s, although 1 address is listed/,
  )
  assert.match(warnings()[2] ?? '', /^no peer has been heard for 33[0-3] s/)
  await cluster.stop([first, second])
})

test('a peer that is heard again is logged, whether it was remembered or not', async () => {
  for (const silentSec of [60, 400]) {
    const { cluster, first, second, logger, seen } = await startTwo()
    cluster.network.isLost = () => true
    cluster.clock.advance(silentSec * 1000)
    cluster.network.isLost = () => false
    cluster.clock.advance(4000)
    const back = logger.lines.filter(({ message }) => message.includes('is heard again'))
    assert.deepEqual(
      back.map(({ level }) => level),
      ['info'],
    )
    assert.match(back[0]?.message ?? '', /^peer node-2 is heard again after \d+ s of silence$/)
    const said = Number(back[0]?.fields['silentSec'])
    assert.ok(said >= silentSec && said < silentSec + 6, String(said))
    assert.deepEqual(first.returned, ['node-2'])
    assert.deepEqual(seen(), ['node-2 true'])
    assert.equal(first.replicator.joinState(), 'joined')
    await cluster.stop([first, second])
  }
})

test('a peer that is started again within seconds was never gone', async () => {
  const { cluster, first, second, warnings, seen } = await startTwo()
  await second.replicator.stop()
  cluster.clock.advance(4000)
  const again = cluster.member(2, 2, { boot: 2 })
  await again.replicator.start()
  cluster.clock.advance(10_000)
  assert.deepEqual(seen(), ['node-2 true'])
  assert.deepEqual([warnings(), first.returned], [[], []])
  await cluster.stop([first, again])
})

test('a peer that no list names stays in view for an hour, one that is listed stays', async () => {
  const cluster = new MemoryCluster({ delayMs: 1 })
  const first = cluster.member(1, 0, { peers: [addressOf(3)] })
  const unlisted = cluster.member(2, 1)
  const listed = cluster.member(3, 1)
  for (const { replicator } of [first, unlisted, listed]) await replicator.start()
  cluster.clock.advance(3000)
  const names = () =>
    first.replicator
      .peers()
      .map(({ name }) => name)
      .sort()
  assert.deepEqual(names(), ['node-2', 'node-3'])
  await cluster.stop([unlisted, listed])
  cluster.clock.advance(GONE_LIFETIME_MS - 10_000)
  assert.deepEqual(names(), ['node-2', 'node-3'])
  cluster.clock.advance(20_000)
  assert.deepEqual(names(), ['node-3'])
  await cluster.stop([first])
})

test('a listed address where nobody ever was is warned of, and not every second', async () => {
  const cluster = new MemoryCluster()
  const logger = new RecordingLogger()
  const lonely = cluster.member(1, 0, { peers: [addressOf(8), addressOf(9)], logger })
  await lonely.replicator.start()
  cluster.clock.advance(ALONE_WARNING_MS - 1000)
  assert.equal(logger.lines.length, 0)
  cluster.clock.advance(2000)
  assert.equal(logger.lines.length, 1)
  assert.match(logger.lines[0]?.message ?? '', /2 addresses are listed: this node serves alone/)
  cluster.clock.advance(3 * ALONE_WARNING_PERIOD_MS)
  assert.equal(logger.lines.length, 4)
  await cluster.stop([lonely])
})

test('a node that lists nobody, or only itself, warns of nothing', async () => {
  const cluster = new MemoryCluster()
  const logger = new RecordingLogger()
  for (const peers of [[], [addressOf(1)]]) {
    const node = cluster.member(1, 0, { peers, logger })
    await node.replicator.start()
    cluster.clock.advance(1_000_000)
    await cluster.stop([node])
  }
  assert.deepEqual(logger.lines, [])
})

test('a hundred peers that go at once are a few lines', async () => {
  const cluster = new MemoryCluster({ delayMs: 1 })
  const logger = new RecordingLogger()
  const all = Array.from({ length: 100 }, (_, index) => addressOf(index + 2))
  const hub = cluster.member(1, 0, { peers: all, logger })
  const others = all.map((_, index) => cluster.member(index + 2, 1))
  for (const { replicator } of [hub, ...others]) await replicator.start()
  cluster.clock.advance(3000)
  logger.lines.length = 0
  cluster.network.isLost = () => true
  cluster.clock.advance(20_000)
  const messages = logger.lines.map(({ message }) => message)
  assert.ok(messages.length <= 30, `${messages.length} lines`)
  assert.ok(messages.some((message) => /^\d+ more peers fell silent/.test(message)))
  await cluster.stop([hub, ...others])
})

const PUBLIC = { host: '203.0.113.1', port: 7171 }

/** Node 1 behind a NAT: what comes to the public address is for it, and what it sends there itself comes from there. */
async function startBehindNat(peers = [PUBLIC, addressOf(2)]) {
  const cluster = new MemoryCluster({ delayMs: 1 })
  const logger = new RecordingLogger()
  const nat = cluster.network.transport(PUBLIC)
  await nat.start((datagram, source) => {
    const from = source.host === addressOf(1).host ? PUBLIC : source
    cluster.network.deliver({ datagram, from, to: addressOf(1) })
  })
  const inside = cluster.member(1, 0, { peers, logger })
  const outside = cluster.member(2, 0, { peers: [PUBLIC] })
  await inside.replicator.start()
  await outside.replicator.start()
  return { cluster, logger, nat, inside, outside }
}

test('own datagrams that come back through a NAT are no replay, its own public address is no peer', async () => {
  const { cluster, logger, inside, outside } = await startBehindNat()
  cluster.clock.advance(1000)
  assert.equal(inside.replicator.joinState(), 'joined')
  for (let second = 0; second < 60; second += 1) {
    inside.put(`session ${second}`, second + 1)
    cluster.clock.advance(1000)
    assert.deepEqual(
      inside.replicator.peers().map(({ name }) => name),
      ['node-2'],
    )
  }
  const { dropped } = inside.replicator.stats
  assert.ok(dropped.own >= 20 && dropped.own < 40, `greetings only: ${dropped.own}`)
  assert.equal(droppedTotal(inside) - dropped.own, 0)
  assert.equal(outside.ids.length, 60)
  assert.deepEqual(
    logger.lines.filter(({ level }) => level === 'warn'),
    [],
  )
  await cluster.stop([inside, outside])
})

test('an address from which own greetings were played back is a peer as soon as one answers', async () => {
  const { cluster, nat, inside, outside } = await startBehindNat([PUBLIC])
  await outside.replicator.stop()
  cluster.clock.advance(5000)
  assert.deepEqual(inside.replicator.peers(), [])
  // The datagrams come again, played back by a tap, while the node at the address is away.
  await nat.stop()
  const there = cluster.network.transport(PUBLIC)
  const peer = Object.assign(cluster.member(3, 1, { transport: there }), { transport: there })
  await peer.replicator.start()
  cluster.clock.advance(4000)
  assert.deepEqual(
    inside.replicator.peers().map(({ name, isUp }) => [name, isUp]),
    [['node-3', true]],
  )
  inside.put('for the peer', 1)
  cluster.clock.advance(10)
  assert.deepEqual(peer.ids, ['for the peer'])
  await cluster.stop([inside, peer])
})
