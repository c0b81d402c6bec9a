// A cache shared with uWSGI nodes: what comes in, what goes out, and that nothing goes round.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { CacheUdp } from '../../src/uwsgi/cache-udp.ts'
import { formatDelete, formatSet } from '../../src/uwsgi/datagram.ts'
import { type CraftedFields, craftDelete, craftSet } from '../support/cache-datagrams.ts'
import { type CacheFixture, createCacheFixture } from '../support/cache-fixture.ts'
import { OUR_ADDRESS, SENDER, setupCacheUdp, THEIR_ADDRESS } from '../support/cache-udp-fixture.ts'
import type { FakeClock } from '../support/fake-clock.ts'
import { encodeSession } from '../support/session-encoder.ts'

const GROUP = { host: '225.1.1.1', port: 7171 }

const set = (key: string, fields: CraftedFields = {}) => craftSet({ key, value: 'val', ...fields })

function atSec(clock: FakeClock, aheadSec: number): string {
  return String(Math.floor(clock.wallMs() / 1000) + aheadSec)
}

// ---- The road out.

test('put, update and remove are told once, to each peer, in the form that is carried out there', async (t) => {
  const second = { host: '127.0.1.3', port: 7171 }
  const { hooks, clock, network, stats } = await setupCacheUdp(t, {
    peers: [THEIR_ADDRESS, second, OUR_ADDRESS],
  })
  const id = Buffer.alloc(32, 1)
  hooks.putOwn(id, Buffer.from('one'), 300_000)
  hooks.putOwn(id, Buffer.from('two'), 60_000)
  hooks.removeAny(id)
  const nowSec = Math.round(clock.wallMs() / 1000)
  const expected = [
    formatSet(id, Buffer.from('one'), nowSec + 300),
    formatSet(id, Buffer.from('two'), nowSec + 60),
    formatDelete(id),
  ].flatMap((datagram) => [datagram, datagram])
  assert.deepEqual(
    network.sent.map(({ datagram }) => datagram),
    expected,
  )
  assert.deepEqual(
    network.sent.map(({ to }) => to),
    [THEIR_ADDRESS, second, THEIR_ADDRESS, second, THEIR_ADDRESS, second],
  )
  assert.equal(stats.datagramsSent, 6)
})

test('what another node of ours changed is told, too', async (t) => {
  const { store, sent } = await setupCacheUdp(t)
  const version = { clock: 1, origin: 9 }
  const id = Buffer.alloc(32, 1)
  const session = Buffer.from('x')
  const context = Buffer.alloc(0)
  const ttlMs = 60_000
  store.apply({ kind: 'put', cache: 'ssl', id, context, serverName: '', session, ttlMs, version })
  store.apply({ kind: 'remove', cache: 'ssl', id, ttlMs, version: { clock: 2, origin: 9 } })
  assert.equal(sent().length, 2)
})

test('a session that fits no datagram is not sent, and counted', async (t) => {
  const { hooks, sent, dropped } = await setupCacheUdp(t, { limits: { blocksize: 65_536 } })
  assert.equal(hooks.putOwn(Buffer.alloc(32, 1), Buffer.alloc(65_500)), 'stored')
  assert.deepEqual(dropped(), { too_large: 1 })
  assert.deepEqual(sent(), [])
})

test('a flood is sent as fast as uWSGI takes it, and in order', async (t) => {
  const { hooks, clock, network, sent } = await setupCacheUdp(t, { limits: { items: 2000 } })
  const idOf = (number: number) => {
    const id = Buffer.alloc(32)
    id.writeUInt32BE(number)
    return id
  }
  for (let number = 0; number < 1000; number += 1) hooks.putOwn(idOf(number), Buffer.from('x'))
  const atOnce = sent().length
  assert.ok(atOnce >= 100 && atOnce < 500, `${atOnce} at once`)
  clock.advance(10)
  const soon = sent().length - atOnce
  assert.ok(soon >= 300 && soon <= 440, `${soon} in 10 ms`)
  clock.advance(100)
  assert.deepEqual(
    network.sent.map(({ datagram }) => datagram.readUInt32BE(6)),
    Array.from({ length: 1000 }, (_, number) => number),
  )
})

test('the queue is bounded, and its oldest datagrams go first', async (t) => {
  const { hooks, clock, dropped, sent } = await setupCacheUdp(t, { limits: { blocksize: 65_536 } })
  for (let number = 0; number < 400; number += 1) {
    hooks.putOwn(Buffer.alloc(32, number % 90), Buffer.alloc(60_000, number))
  }
  const count = dropped()['queue_full'] ?? 0
  // 200 went at once; of the rest 8 MiB wait.
  assert.ok(count > 50 && count < 80, `${count}`)
  clock.advance(1000)
  assert.equal(sent().length, 400 - count)
  assert.equal(sent().at(-1)?.at(-20), 399 & 0xff)
})

test('what waits is sent at the stop', async (t) => {
  const { hooks, cacheUdp, sent, clock } = await setupCacheUdp(t, { limits: { items: 1000 } })
  for (let number = 0; number < 900; number += 1) {
    const id = Buffer.alloc(32)
    id.writeUInt32BE(number)
    hooks.putOwn(id, Buffer.from('x'))
  }
  await cacheUdp.stop()
  assert.equal(sent().length, 900)
  hooks.putOwn(Buffer.alloc(32, 9), Buffer.from('x'))
  assert.equal(sent().length, 900)
  clock.advance(1000)
  assert.equal(clock.pendingCount, 0)
})

// ---- Who is listened to.

test('beyond loopback only the peers are listened to', async (t) => {
  const peer = { host: '10.0.0.2', port: 7171 }
  const our = { host: '10.0.0.1', port: 7171 }
  const { receive, dropped, stats, logger } = await setupCacheUdp(t, { our, peers: [peer] })
  receive(set('a'), { host: '10.0.0.2', port: 40_000 })
  receive(set('b'), { host: '10.0.0.3', port: 7171 })
  receive(set('c'), { host: '127.0.0.1', port: 7171 })
  assert.equal(stats.stored, 1)
  assert.deepEqual(dropped(), { unlisted: 2 })
  assert.deepEqual(
    logger.lines.map(({ fields }) => [fields['reason'], fields['peer']]),
    [['unlisted', '10.0.0.3:7171']],
  )
})

test('without peers, and in a group, whoever sends is listened to', async (t) => {
  const alone = await setupCacheUdp(t, { our: { host: '10.0.0.1', port: 7171 }, peers: [] })
  alone.receive(set('a'), { host: '10.0.0.9', port: 1 })
  const grouped = await setupCacheUdp(t, {
    our: { host: '0.0.0.0', port: 9 },
    peers: [],
    group: GROUP,
  })
  grouped.receive(set('a'), { host: '10.0.0.9', port: 1 })
  assert.deepEqual([alone.stats.stored, grouped.stats.stored], [1, 1])
})

test('a group is sent to, and what it gives back is known', async (t) => {
  const our = { host: '0.0.0.0', port: 9999 }
  const { hooks, network, receive, stats, store } = await setupCacheUdp(t, {
    our,
    peers: [],
    group: GROUP,
  })
  hooks.putOwn(Buffer.alloc(32, 1), Buffer.from('x'), 60_000)
  assert.deepEqual(
    network.sent.map(({ to }) => to),
    [GROUP],
  )
  hooks.removeAny(Buffer.alloc(32, 1))
  // The group gives back the put after the removal; the sender is an address of this machine.
  const [put] = network.sent
  receive(put?.datagram ?? Buffer.alloc(0), { host: '10.0.0.1', port: 9999 })
  assert.equal(stats.datagramsReceived, 0)
  assert.equal(store.stats.items, 0)
})

// ---- Sessions.

test('a session keeps its own context, and never outlives itself', async (t) => {
  const { receive, hooks, clock, dropped } = await setupCacheUdp(t)
  const id = Buffer.alloc(32, 5)
  const context = Buffer.from('foobar')
  const timeSec = Math.floor(clock.wallMs() / 1000)
  const session = encodeSession({ id, context, timeSec, timeoutSec: 100 })
  receive(craftSet({ key: id, value: session, expiry: atSec(clock, 300) }))
  assert.equal(hooks.get(Buffer.from('other'), id), undefined)
  assert.deepEqual(hooks.get(context, id), { session, ttlMs: 100_000 })
  // A session under an ID that is not its own.
  receive(craftSet({ key: Buffer.alloc(32, 6), value: session, expiry: atSec(clock, 300) }))
  assert.deepEqual(dropped(), { key_mismatch: 1 })
  // Swept, or found expired, here in either case: there it stays.
  clock.advance(100_000)
  assert.equal(hooks.get(context, id), undefined)
})

test('a time further ahead than a year is nobody`s lifetime', async (t) => {
  const { receive, clock, dropped, stats } = await setupCacheUdp(t)
  receive(set('a', { expiry: atSec(clock, 400 * 86_400) }))
  receive(set('b', { expiry: atSec(clock, 300 * 86_400) }))
  assert.deepEqual(dropped(), { expiry: 1 })
  assert.equal(stats.stored, 1)
})

test('an item that is stored already changes nothing; one with a later expiry does', async (t) => {
  const { receive, clock, dropped, stats, hooks } = await setupCacheUdp(t)
  receive(set('a', { expiry: atSec(clock, 60) }))
  const version = hooks.versionOf(Buffer.from('a'))
  receive(set('a', { expiry: atSec(clock, 61) }))
  assert.deepEqual(hooks.versionOf(Buffer.from('a')), version)
  assert.deepEqual(dropped(), { unchanged: 1 })
  receive(set('a', { expiry: atSec(clock, 90) }))
  assert.equal(stats.stored, 2)
  assert.equal(hooks.peekAny(Buffer.from('a'))?.ttlMs, 90_000)
})

// ---- No loops.

test('two nodes that are joined in both wires pass an entry on once', async (t) => {
  // Each applies the other's changes at once, as our own wire does, and sends all it learns by cache-udp.
  const left = await joined(t, 1)
  const right = await joined(t, 2)
  couple(left, right)
  couple(right, left)
  left.hooks.putOwn(Buffer.from('a'), Buffer.from('val'), 60_000)
  settle([left, right])
  right.hooks.putOwn(Buffer.from('a'), Buffer.from('new'), 60_000)
  settle([left, right])
  left.receive(set('fromthem', { expiry: atSec(left.clock, 60) }))
  settle([left, right])
  right.hooks.removeAny(Buffer.from('a'))
  settle([left, right])
  left.receive(craftDelete({ key: 'fromthem' }))
  settle([left, right])
  for (const node of [left, right]) {
    assert.equal(node.store.stats.items, 0)
    // Five changes, each sent at most once by each node.
    assert.ok(node.datagrams.length <= 5, `${node.datagrams.length}`)
  }
})

interface Joined extends CacheFixture {
  readonly cacheUdp: CacheUdp
  readonly receive: (datagram: Buffer) => void
  readonly datagrams: Buffer[]
  /** Not yet delivered. */
  readonly waiting: Buffer[]
  deliver: (datagram: Buffer) => void
}

async function joined(t: TestContext, number: number): Promise<Joined> {
  const cache = createCacheFixture()
  const datagrams: Buffer[] = []
  const waiting: Buffer[] = []
  const node: { receive: (datagram: Buffer) => void } = { receive: () => {} }
  const cacheUdp = new CacheUdp({
    ...cache,
    transport: {
      address: { host: `127.0.1.${number}`, port: 7171 },
      group: undefined,
      queuedBytes: 0,
      start: async (receive) => {
        node.receive = (datagram) => receive(datagram, SENDER)
      },
      send: (datagram) => {
        datagrams.push(datagram)
        waiting.push(datagram)
        return true
      },
      stop: async () => {},
    },
    peers: [{ host: `127.0.1.${3 - number}`, port: 7171 }],
    interfaceAddresses: () => [],
  })
  await cacheUdp.start()
  t.after(() => cacheUdp.stop())
  const receive = (datagram: Buffer) => node.receive(datagram)
  return { ...cache, cacheUdp, receive, datagrams, waiting, deliver: () => {} }
}

function couple(from: Joined, to: Joined): void {
  from.deliver = (datagram) => to.receive(datagram)
  from.store.onChange = (change, origin) => {
    if (origin === 'local') to.store.apply(structuredClone(change))
    from.cacheUdp.publish(change)
  }
}

function settle(nodes: readonly Joined[]): void {
  for (let round = 0; nodes.some((node) => node.waiting.length > 0); round += 1) {
    assert.ok(round < 50, 'an entry goes round')
    for (const node of nodes) {
      for (const datagram of node.waiting.splice(0)) node.deliver(datagram)
    }
  }
}
