// What greetings say beyond the proof: the version of the protocol, the limits of the caches, the hash of rings.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Sender } from '../../src/replication/live/senders.ts'
import { GREETING_DATAGRAM_BYTES } from '../../src/replication/peers/greeter.ts'
import type { CacheLimits } from '../../src/store/limits.ts'
import { createIdentity } from '../../src/wire/identity.ts'
import { encodeGreeting, PROTOCOL_VERSION } from '../../src/wire/message.ts'
import { Sealer } from '../../src/wire/seal.ts'
import { addressOf, MemoryCluster } from '../support/memory-cluster.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { TEST_KEYS } from '../support/replication-node.ts'
import { seededBytes } from '../support/seeded-random.ts'
import { messageOf, ofKind } from '../support/wiretap.ts'

function limits(name: string, other: Partial<CacheLimits> = {}): CacheLimits {
  const usual = {
    items: 10,
    keysize: 32,
    blocksize: 4096,
    timeoutMs: 300_000,
    full: 'evict' as const,
  }
  return { name, ...usual, ...other }
}

async function logOf(ours: readonly CacheLimits[], theirs: readonly CacheLimits[], others = 0) {
  const cluster = new MemoryCluster()
  const logger = new RecordingLogger()
  const first = cluster.member(1, 2, { caches: ours, logger })
  const second = cluster.member(2, 2 + others, { caches: theirs })
  const rest = Array.from({ length: others }, (_, index) => cluster.member(3 + index, 2))
  const members = [first, second, ...rest]
  for (const member of members) await member.replicator.start()
  cluster.clock.advance(120_000)
  await cluster.stop(members)
  return logger.lines.filter(({ level }) => level === 'warn').map(({ fields }) => fields)
}

test('each difference of limits is logged once, whatever the number of greetings', async () => {
  const contexts = [Buffer.from('shop')]
  const ours = [limits('ssl'), limits('same', { contexts }), limits('here')]
  const theirs = [
    limits('ssl', { blocksize: 16_384, timeoutMs: 600_000, contexts }),
    limits('same', { contexts, items: 99 }),
    limits('there'),
  ]
  assert.deepEqual(await logOf(ours, theirs), [
    {
      peer: 'node-2',
      cache: 'ssl',
      blocksize: { here: 4096, there: 16_384 },
      timeoutMs: { here: 300_000, there: 600_000 },
      contexts: 'differ',
    },
    { peer: 'node-2', cache: 'there' },
    { peer: 'node-2', cache: 'here' },
  ])
})

test('forty caches are told, some at a time, in greetings of the same size', async () => {
  const caches = Array.from({ length: 40 }, (_, number) => limits(`cache-${number}`))
  const others = caches.map((one) => ({ ...one, keysize: 64 }))
  const logged = await logOf(caches, others)
  assert.deepEqual(logged.map(({ cache }) => cache).sort(), caches.map(({ name }) => name).sort())
})

for (const others of [1, 3, 5]) {
  test(`every peer is told of every cache when greetings go to ${others} others in turn`, async () => {
    const caches = Array.from({ length: 10 }, (_, number) => limits(`cache-${number}`))
    const theirs = caches.map((one) => ({ ...one, keysize: 64 }))
    const logged = await logOf(caches, theirs, others)
    assert.deepEqual(logged.map(({ cache }) => cache).sort(), caches.map(({ name }) => name).sort())
  })
}

test('the limits in a recorded greeting of an earlier boot are not taken for those of now', async () => {
  const cluster = new MemoryCluster()
  const logger = new RecordingLogger()
  const node = cluster.member(1, 0, { caches: [limits('ssl')], logger })
  await node.replicator.start()
  for (let boot = 0; boot < 50; boot += 1) {
    const sealer = new Sealer(createIdentity('peer', seededBytes(`boot ${boot}`)), TEST_KEYS)
    const greeting = encodeGreeting({
      challenge: undefined,
      answer: undefined,
      changesSequence: 0,
      sentWallMs: 1,
      nodeName: 'peer',
      version: PROTOCOL_VERSION,
      caches: [{ name: 'ssl', keysize: 64, blocksize: 4096, timeoutMs: 300_000, contextsHash: 0 }],
      cacheCount: 1,
    })
    const datagram = sealer.seal('control', greeting)
    cluster.network.deliver({ datagram, from: addressOf(2), to: addressOf(1) })
  }
  assert.deepEqual(
    logger.lines.filter(({ level }) => level === 'warn'),
    [],
  )
  await cluster.stop([node])
})

test('the hash of rings is told to peers within 4 s, and a node without rings tells and takes none', async () => {
  const cluster = new MemoryCluster()
  const heard: string[] = []
  const told = { hash: Buffer.from('11'.repeat(8), 'hex') }
  const greet = (sender: Sender) =>
    heard.push(`${sender.nodeName} ${sender.ringsHash?.toString('hex')}`)
  // Room for a long name and caches beside it: every greeting keeps its size.
  const caches = Array.from({ length: 10 }, (_, number) => limits(`cache-${number}`))
  const rings = { hash: () => told.hash, greet }
  const members = [
    cluster.member(1, 3, { name: 'n'.repeat(128), caches, rings: { ...rings, greet: () => {} } }),
    cluster.member(2, 3, { rings }),
    cluster.member(3, 3, { caches }),
  ]
  for (const member of members) await member.replicator.start()
  cluster.clock.advance(2000)
  assert.ok(heard.includes(`${'n'.repeat(128)} ${'11'.repeat(8)}`), heard.join())
  assert.ok(heard.includes('node-3 undefined'))
  told.hash = Buffer.from('22'.repeat(8), 'hex')
  heard.length = 0
  cluster.clock.advance(4000)
  assert.ok(heard.includes(`${'n'.repeat(128)} ${'22'.repeat(8)}`), heard.join())
  const sizes = ofKind(cluster.network.sent, 'greeting').map(({ datagram }) => datagram.length)
  assert.deepEqual([...new Set(sizes)], [GREETING_DATAGRAM_BYTES])
  await cluster.stop(members)
})

test('every greeting has the version, and who has none is of version 1', async () => {
  const cluster = new MemoryCluster()
  const pair = await cluster.start(2)
  for (const passed of ofKind(cluster.network.sent, 'greeting')) {
    const message = messageOf(passed)
    assert.ok(message.kind === 'greeting')
    assert.equal(message.version, PROTOCOL_VERSION)
  }
  assert.deepEqual(
    pair.map(({ replicator }) => replicator.verifiedSenders()[0]?.version),
    [PROTOCOL_VERSION, PROTOCOL_VERSION],
  )
  await cluster.stop(pair)
})

test('below the minimum version nobody is answered, verified or taken from', async () => {
  const cluster = new MemoryCluster()
  const node = cluster.member(1, 0, { minimumVersion: 2 })
  await node.replicator.start()
  const sealer = new Sealer(createIdentity('old', seededBytes('old')), TEST_KEYS)
  const greeting = encodeGreeting({
    challenge: Buffer.alloc(16, 3),
    answer: undefined,
    changesSequence: 0,
    sentWallMs: 1,
    nodeName: 'old',
  })
  const passed = {
    datagram: sealer.seal('control', greeting),
    from: addressOf(2),
    to: addressOf(1),
  }
  cluster.network.deliver(passed)
  assert.equal(cluster.network.sent.length, 0)
  assert.equal(node.replicator.stats.dropped.version, 1)
  assert.deepEqual(node.replicator.verifiedSenders(), [])
  await cluster.stop([node])
})
