// A path that carries only small datagrams and does not say so: what does not get through goes in pieces.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { addressOf, MemoryCluster } from '../support/memory-cluster.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import type { TestNode } from '../support/replication-node.ts'
import { seededNumbers } from '../support/seeded-random.ts'
import { ofKind } from '../support/wiretap.ts'

/** A tunnel with an MTU of 1280 bytes, less the headers of IPv6 and UDP. */
const TUNNEL_BYTES = 1232
const SESSIONS = 400
const BURST_WITHIN_MS = 2000

async function startBehind(pathBytes: number, delayMs = 10) {
  const cluster = new MemoryCluster({ delayMs })
  const loggers = [new RecordingLogger(), new RecordingLogger()]
  const members = [1, 2].map((number, index) =>
    cluster.member(number, 2, { logger: loggers[index] as RecordingLogger }),
  )
  cluster.network.isLost = ({ datagram }) => datagram.length > pathBytes
  for (const member of members) await member.replicator.start()
  cluster.clock.advance(2000)
  const [first, second] = members
  assert.ok(first !== undefined && second !== undefined)
  const warnings = () => loggers[0]?.lines.filter(({ level }) => level === 'warn') ?? []
  return { cluster, first, second, warnings }
}

function putBurst(node: TestNode, name: string, sessionBytes = 200): void {
  for (let number = 0; number < SESSIONS; number += 1) {
    node.put(`${name}-${number}`, number + 1, { session: Buffer.alloc(sessionBytes, number) })
  }
}

for (const pathBytes of [TUNNEL_BYTES, 548]) {
  test(`400 sessions in one burst over a path of ${pathBytes} bytes are there within 2 s`, async () => {
    const { cluster, first, second, warnings } = await startBehind(pathBytes)
    putBurst(first, 'burst')
    cluster.clock.advance(BURST_WITHIN_MS)
    assert.equal(second.newest.size, SESSIONS)
    assert.deepEqual(second.newest, first.made)
    assert.equal(warnings().length, 1)

    // The next burst goes in pieces at once.
    const sentBefore = cluster.network.sent.length
    putBurst(first, 'next')
    cluster.clock.advance(100)
    assert.equal(second.newest.size, 2 * SESSIONS)
    const tooLarge = cluster.network.sent
      .slice(sentBefore)
      .filter(({ datagram }) => datagram.length > pathBytes)
    assert.equal(tooLarge.length, 0)
    assert.equal(warnings().length, 1)
    assert.equal(second.replicator.stats.lost, 0)
    await cluster.stop([first, second])
    assert.equal(second.replicator.pendingBytes, 0)
  })
}

test('entries in fragments go in pieces, too', async () => {
  const { cluster, first, second } = await startBehind(TUNNEL_BYTES)
  first.put('large', 1, { session: Buffer.alloc(20_000, 5) })
  cluster.clock.advance(BURST_WITHIN_MS)
  assert.deepEqual(second.newest, first.made)
  await cluster.stop([first, second])
})

test('random loss of a third of all datagrams is not taken for a small path', async () => {
  const cluster = new MemoryCluster({ random: seededNumbers('lossy'), loss: 0.3, delayMs: 5 })
  const [first, second] = await cluster.start(2)
  assert.ok(first !== undefined && second !== undefined)
  for (let round = 0; round < 10; round += 1) {
    putBurst(first, `round-${round}`)
    cluster.clock.advance(300)
  }
  cluster.clock.advance(5000)
  assert.equal(second.newest.size, 10 * SESSIONS)
  const [sender] = first.replicator.verifiedSenders()
  assert.equal(sender?.pathBytes, undefined)
  await cluster.stop([first, second])
})

test('a path that carries whole datagrams again is tried again after ten minutes', async () => {
  const { cluster, first, second } = await startBehind(TUNNEL_BYTES)
  putBurst(first, 'burst')
  cluster.clock.advance(BURST_WITHIN_MS)
  const [sender] = first.replicator.verifiedSenders()
  assert.equal(sender?.pathBytes, 1200)
  cluster.network.isLost = () => false
  cluster.clock.advance(600_000)
  putBurst(first, 'later')
  cluster.clock.advance(100)
  assert.equal(sender?.pathBytes, undefined)
  assert.equal(second.newest.size, 2 * SESSIONS)
  await cluster.stop([first, second])
})

test('a group gets whole datagrams although the path to one of its members is small', async () => {
  const cluster = new MemoryCluster({ delayMs: 1 })
  const group = { host: '225.1.1.1', port: 7171 }
  const members = [1, 2, 3].map((number) =>
    cluster.member(number, 0, { transport: cluster.network.transport(addressOf(number), group) }),
  )
  cluster.network.isLost = ({ datagram }, receiver) =>
    datagram.length > TUNNEL_BYTES && receiver.host === addressOf(3).host
  for (const member of members) await member.replicator.start()
  cluster.clock.advance(2000)
  const [first, second, third] = members
  assert.ok(first !== undefined && second !== undefined && third !== undefined)
  putBurst(first, 'burst')
  cluster.clock.advance(BURST_WITHIN_MS)
  putBurst(first, 'next')
  cluster.clock.advance(BURST_WITHIN_MS)
  assert.deepEqual([second.newest.size, third.newest.size], [2 * SESSIONS, 2 * SESSIONS])
  const pieces = ofKind(cluster.network.sent, 'piece')
  assert.ok(pieces.length > 0)
  const elsewhere = pieces.filter(({ to }) => to.host !== addressOf(3).host)
  assert.equal(elsewhere.length, 0)
  await cluster.stop(members)
})

test('a node of version 1 gets no pieces', async () => {
  const { cluster, first, second } = await startBehind(TUNNEL_BYTES)
  const [sender] = first.replicator.verifiedSenders()
  assert.ok(sender !== undefined)
  // Its greetings go on saying otherwise.
  Object.defineProperty(sender, 'version', { get: () => 1, set: () => {} })
  cluster.network.isLost = ({ datagram, to }) =>
    datagram.length > TUNNEL_BYTES && to.host === addressOf(2).host
  putBurst(first, 'burst')
  cluster.clock.advance(900)
  assert.equal(sender.pathBytes, undefined)
  assert.ok(second.newest.size < SESSIONS)
  assert.deepEqual(ofKind(cluster.network.sent, 'piece'), [])
  await cluster.stop([first, second])
})
