// The swap of rings of ticket keys between nodes: when a node calls whom, what it erases, and who may make keys when.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { zeros } from '../../src/base/counters.ts'
import { silentLogger } from '../../src/base/world.ts'
import type { JoinState } from '../../src/replication/replicator.ts'
import { RingExchange, type RingPeer } from '../../src/replication/sync/ring-exchange.ts'
import { SyncResponder } from '../../src/replication/sync/server.ts'
import { SYNC_COUNTERS } from '../../src/replication/sync/stats.ts'
import { FrameStream } from '../../src/replication/sync/stream.ts'
import { TicketAuthority } from '../../src/tickets/authority.ts'
import { openedKeys } from '../../src/tickets/rule.ts'
import { ringTimes } from '../../src/tickets/times.ts'
import { Keyring } from '../../src/wire/keyring.ts'
import type { RingOffer } from '../../src/wire/ring-message.ts'
import { duplexPair } from '../support/duplex-pair.ts'
import { seededBytes } from '../support/seeded-random.ts'
import { TurningClock } from '../support/sync-node.ts'

const HOUR_MS = 3_600_000
const INTERVAL_MS = 30_000
const CLUSTER_KEY = seededBytes('cluster')(32)
const keyring = new Keyring([CLUSTER_KEY])

/** A node with rings, as the others see it. */
class RingNode implements RingPeer {
  readonly nodeName: string
  readonly authority: TicketAuthority
  readonly exchange: RingExchange<RingNode>
  readonly stats = zeros(SYNC_COUNTERS)
  /** Names of the nodes it called, in order. */
  readonly called: string[] = []
  /** Every offer that went through its hands. */
  readonly offers: RingOffer[] = []
  readonly keys = { current: keyring }
  joinState: JoinState = 'joining'
  peers: RingNode[] = []
  ringsHash: Buffer | undefined
  /** A node that takes connections and never answers. */
  isHanging = false
  readonly #clock: TurningClock

  constructor(clock: TurningClock, nodeName: string, groups: readonly string[]) {
    this.#clock = clock
    this.nodeName = nodeName
    const times = ringTimes(
      { name: 'www', rotateMs: HOUR_MS, lifetimeMs: HOUR_MS, waitMs: HOUR_MS },
      [],
    )
    const authority = new TicketAuthority({
      groups: groups.map((name) => ({ name, times })),
      nodeId: Buffer.from(nodeName),
      clock,
      random: seededBytes(nodeName),
    })
    this.authority = authority
    this.exchange = new RingExchange<RingNode>({
      nodeName,
      rings: {
        offers: () => this.#note(authority.offers()),
        merge: (offers) => authority.merge(this.#note(offers)),
        hash: (hashKey) => authority.hash(hashKey),
        mayMake: () => authority.mayMake(),
        wake: () => authority.wake(),
      },
      keys: this.keys,
      peers: () => this.peers,
      joinState: () => this.joinState,
      connect: (peer) => this.#connect(peer),
      intervalMs: INTERVAL_MS,
      stats: this.stats,
      clock,
      logger: silentLogger,
    })
  }

  /** What a greeting does: the peer's hash arrives. */
  hear(peer: RingNode): void {
    peer.ringsHash = peer.exchange.hash()
    this.exchange.greet(peer)
  }

  names(group = 'www'): string[] {
    const view = this.authority.source(group)?.view()
    return view === undefined ? [] : openedKeys(view).map(({ key }) => key.hexName)
  }

  #note<Offers extends readonly RingOffer[]>(offers: Offers): Offers {
    this.offers.push(...offers)
    return offers
  }

  #connect(peer: RingNode): Promise<FrameStream> {
    this.called.push(peer.nodeName)
    const [near, far] = duplexPair()
    if (!peer.isHanging) {
      const rings = {
        offers: () => peer.#note(peer.authority.offers()),
        merge: (offers: readonly RingOffer[]) => peer.authority.merge(peer.#note(offers)),
        hash: (hashKey: Uint8Array) => peer.authority.hash(hashKey),
        mayMake: () => {},
        wake: () => {},
      }
      const { stats } = peer
      const clock = this.#clock
      const responder = new SyncResponder({
        stores: new Map(),
        isComplete: () => true,
        summary: () => Buffer.from('{}'),
        trace: async () => Buffer.from('{}'),
        rings,
        clock,
        stats,
      })
      const stream = new FrameStream(far, clock)
      responder.serve(stream).then(
        () => stream.end(),
        () => stream.close(),
      )
    }
    return Promise.resolve(new FrameStream(near, this.#clock))
  }
}

function setUp(...names: readonly string[]): [TurningClock, RingNode[]] {
  const clock = new TurningClock()
  const nodes = names.map((name) => new RingNode(clock, name, ['www']))
  for (const node of nodes) node.peers = nodes.filter((other) => other !== node)
  return [clock, nodes]
}

/** Lets pass so many turns of the event loop as a swap in memory may take. */
async function settle(): Promise<void> {
  for (let turns = 0; turns < 30; turns += 1) await new Promise((resolve) => setImmediate(resolve))
}

async function stop(nodes: readonly RingNode[]): Promise<void> {
  for (const { exchange, authority } of nodes) {
    await exchange.stop()
    authority.stop()
  }
}

/** Starts a node that nobody answers, so that it makes a key of its own. */
function startAlone(clock: TurningClock, node: RingNode): void {
  node.exchange.start()
  node.joinState = 'alone'
  clock.advance(20)
  assert.equal(node.names().length, 1)
}

test('a node that starts takes the ring of a peer and makes no key', async () => {
  const [clock, [a, b]] = setUp('a', 'b') as [TurningClock, [RingNode, RingNode]]
  startAlone(clock, a)
  b.exchange.start()
  clock.advance(100)
  assert.deepEqual(b.names(), [])
  b.hear(a)
  await settle()
  clock.advance(20)
  assert.deepEqual(b.names(), a.names())
  assert.equal(b.authority.rings[0]?.stats.madeHere, 0)
  assert.deepEqual([a.stats.ringSwaps, b.stats.ringSwaps], [1, 1])
  // The hashes agree now: further greetings call nobody.
  a.hear(b)
  b.hear(a)
  await settle()
  assert.deepEqual([a.called, b.called], [[], ['a']])
  await stop([a, b])
})

test('when nodes start at the same time, the first by name makes the key, and the others take it', async () => {
  const [clock, [a, b, c]] = setUp('a', 'b', 'c') as [TurningClock, [RingNode, RingNode, RingNode]]
  const nodes = [a, b, c]
  for (const node of nodes) node.exchange.start()
  for (const node of nodes) for (const peer of node.peers) node.hear(peer)
  await settle()
  clock.advance(500)
  await settle()
  assert.deepEqual(
    nodes.map((node) => node.names()),
    [[], [], []],
  )
  // The others joined sooner than the one that they wait for.
  for (const node of [b, c]) node.joinState = 'joined'
  clock.advance(20)
  await settle()
  a.joinState = 'joined'
  clock.advance(20)
  await settle()
  assert.equal(a.names().length, 1)
  clock.advance(250)
  await settle()
  clock.advance(20)
  for (const node of [b, c]) {
    assert.deepEqual(node.names(), a.names())
    assert.equal(node.authority.rings[0]?.stats.madeHere, 0)
  }
  await stop(nodes)
})

test('a peer that has to make the first key and does not delays it by 4 s at most', async () => {
  const [clock, [a, b]] = setUp('a', 'b') as [TurningClock, [RingNode, RingNode]]
  // `a` answers, has nothing and makes nothing.
  b.exchange.start()
  b.hear(a)
  b.joinState = 'joined'
  await settle()
  for (let passedMs = 0; passedMs < 3900; passedMs += 100) {
    clock.advance(100)
    await settle()
    assert.deepEqual(b.names(), [])
  }
  clock.advance(100)
  await settle()
  assert.equal(b.names().length, 1)
  await stop([a, b])
})

test('a key of one node is on the other at its next greeting, and a revocation too', async () => {
  const [clock, [a, b]] = setUp('a', 'b') as [TurningClock, [RingNode, RingNode]]
  startAlone(clock, a)
  b.exchange.start()
  b.hear(a)
  await settle()
  clock.advance(20)
  const [first] = a.names()
  a.authority.rotate('www', { isImmediate: false, isRevoking: false })
  assert.equal(b.exchange.differs(a), false)
  b.hear(a)
  assert.equal(b.exchange.differs(a), true)
  await settle()
  assert.equal(b.names().length, 2)
  a.authority.rotate('www', { isImmediate: false, isRevoking: true })
  b.hear(a)
  await settle()
  assert.deepEqual(b.names(), a.names())
  assert.ok(!b.names().includes(first ?? ''))
  await stop([a, b])
})

test('no secret is left in what went over the connection', async () => {
  const [clock, [a, b]] = setUp('a', 'b') as [TurningClock, [RingNode, RingNode]]
  startAlone(clock, a)
  b.exchange.start()
  b.hear(a)
  await settle()
  // What either side offered, and both received: copies and the bytes of the frames.
  const secrets = [...a.offers, ...b.offers].flatMap(({ keys }) => keys.map(({ secret }) => secret))
  assert.ok(secrets.length >= 2, `${secrets.length}`)
  for (const secret of secrets) assert.ok(secret.every((byte) => byte === 0))
  assert.ok(
    b.authority
      .source('www')
      ?.view()
      .current?.key.secret.some((byte) => byte !== 0),
  )
  await stop([a, b])
})

test('nodes that differ for ever, as with other groups, swap once for each change and by the clock', async () => {
  const clock = new TurningClock()
  const a = new RingNode(clock, 'a', ['www'])
  const b = new RingNode(clock, 'b', ['www', 'api'])
  a.peers = [b]
  b.peers = [a]
  for (const node of [a, b]) startAlone(clock, node)
  for (let greeting = 0; greeting < 8; greeting += 1) {
    a.hear(b)
    b.hear(a)
    await settle()
  }
  assert.equal(a.exchange.differs(b), true)
  assert.ok(a.called.length + b.called.length <= 6, `${a.called} ${b.called}`)
  assert.ok(a.authority.unknownGroups > 0)
  const before = a.called.length
  clock.advance(INTERVAL_MS)
  await settle()
  assert.equal(a.called.length, before + 1)
  await stop([a, b])
})

test('while the keys of the cluster are renewed, rings that are equal are seen to be equal', async () => {
  const [clock, [a, b]] = setUp('a', 'b') as [TurningClock, [RingNode, RingNode]]
  startAlone(clock, a)
  b.exchange.start()
  b.hear(a)
  await settle()
  const renewed = seededBytes('renewed')(32)
  a.keys.current = new Keyring([CLUSTER_KEY, renewed])
  b.keys.current = new Keyring([renewed, CLUSTER_KEY])
  a.hear(b)
  b.hear(a)
  await settle()
  assert.deepEqual([a.called, b.called], [[], ['a']])
  await stop([a, b])
})

for (const [what, pass] of [
  // The process was stopped: its timers are late.
  ['stopped process', (clock: TurningClock) => clock.stall(7000)],
  // The machine was suspended: only the time of day went on.
  ['suspended machine', (clock: TurningClock) => clock.shiftWall(7000)],
] as const) {
  test(`after the pause of a ${what} all peers are called, before any comparison is due`, async () => {
    const [clock, [a, b, c]] = setUp('a', 'b', 'c') as [
      TurningClock,
      [RingNode, RingNode, RingNode],
    ]
    for (const node of [a, b, c]) startAlone(clock, node)
    for (const peer of [b, c]) a.hear(peer)
    await settle()
    const before = a.called.length
    clock.advance(1000)
    pass(clock)
    clock.advance(1000)
    await settle()
    assert.deepEqual(a.called.slice(before).sort(), ['b', 'c'])
    await stop([a, b, c])
  })
}

for (const [what, pass, keys] of [
  [
    'process that was stopped for hours knows the ages',
    (clock: TurningClock) => clock.stall(HOUR_MS / 2),
    1,
  ],
  ['machine that was suspended does not', (clock: TurningClock) => clock.shiftWall(HOUR_MS / 2), 2],
] as const) {
  test(`alone, a ${what}: after 4 s it has ${keys} keys`, async () => {
    const [clock, [a]] = setUp('a') as [TurningClock, [RingNode]]
    startAlone(clock, a)
    clock.advance(1000)
    pass(clock)
    clock.advance(4500)
    assert.equal(a.names().length, 1)
    clock.advance(1000)
    assert.equal(a.names().length, keys)
    await stop([a])
    assert.equal(clock.pendingCount, 0)
  })
}

test('a peer that takes the connection and does not answer delays the first key by 4 s at most', async () => {
  const [clock, [a, b]] = setUp('a', 'b') as [TurningClock, [RingNode, RingNode]]
  startAlone(clock, a)
  a.isHanging = true
  b.exchange.start()
  b.hear(a)
  b.joinState = 'joined'
  await settle()
  clock.advance(3000)
  assert.deepEqual(b.names(), [])
  clock.advance(1000)
  assert.equal(b.names().length, 1)
  // The stop breaks the call off; it does not wait for the stall to be noticed.
  await stop([a, b])
  assert.equal(b.stats.failures.stalled, 0)
})
