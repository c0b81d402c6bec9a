// Hooks on a node in another process that goes away and comes back. The clock moves by command: whatever ends
// without it was not waited for.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { until } from '../support/latch.ts'
import {
  CONTEXT,
  connectedFixture,
  ID,
  lose,
  remoteFixture,
  SESSION,
} from '../support/remote-fixture.ts'

const AWAY = 'the session cache is away: every handshake is a full one'
const BACK = 'connected to the session cache'
const lowest = () => Buffer.alloc(4)

test('calls that wait when the node goes have no answer at once', async (t) => {
  const all = await connectedFixture(t)
  const get = all.get()
  const failed = assert.rejects(all.hooks.put({ context: CONTEXT, id: ID, session: SESSION }), {
    code: 'ERR_UNREACHABLE',
  })
  await lose(all)
  assert.equal(await get, undefined)
  await failed
  assert.equal(all.hooks.isConnected, false)
})

test('opened before the first call; a node that is away is not waited for, a silent one not for long', async (t) => {
  const { node, hooks, get } = remoteFixture(t)
  const opened = hooks.open()
  await node.last.pong()
  await node.last.pong()
  assert.equal(await opened, true)
  assert.equal(hooks.isConnected, true)
  const found = get()
  await node.last.answer('get', { kind: 'miss' })
  assert.equal(await found, undefined)
  assert.equal(node.connections.length, 1)

  const away = remoteFixture(t)
  away.node.isRefusing = true
  assert.equal(await away.hooks.open(), false)

  const silent = remoteFixture(t)
  const late = silent.hooks.open(300)
  silent.clock.advance(300)
  assert.equal(await late, false)
})

test('while the node is away nobody waits, and it is tried less and less often', async (t) => {
  const { node, clock, logger, hooks, get } = remoteFixture(t)
  node.isRefusing = true
  const startMs = clock.monotonicMs()
  assert.equal(await get(), undefined)
  const attemptsMs: number[] = []
  while (attemptsMs.length < 7) {
    const { disconnects } = hooks.stats
    const made = node.connections.length
    clock.advance(1)
    if (node.connections.length === made) continue
    attemptsMs.push(clock.monotonicMs() - startMs)
    await until('it failed', () => hooks.stats.disconnects > disconnects)
    // Each of these calls ends although the clock stands still.
    assert.equal(await get(), undefined)
    await assert.rejects(hooks.put({ context: CONTEXT, id: ID, session: SESSION }), {
      code: 'ERR_UNREACHABLE',
    })
    await assert.rejects(hooks.remove(CONTEXT, ID), { code: 'ERR_UNREACHABLE' })
  }
  const waitsMs = attemptsMs.map((at, index) => at - (attemptsMs[index - 1] ?? 0))
  assert.deepEqual(waitsMs, [100, 200, 400, 800, 1000, 1000, 1000])
  assert.deepEqual([hooks.stats.gets.unreachable, hooks.stats.puts.unreachable], [8, 7])
  assert.deepEqual(
    logger.lines.map(({ level, message }) => [level, message]),
    [['warn', AWAY]],
  )
  assert.equal(hooks.stats.connects, 0)
})

test('a part of the wait is left to chance', async (t) => {
  const { node, clock, hooks, get } = remoteFixture(t, { random: lowest })
  node.isRefusing = true
  assert.equal(await get(), undefined)
  await until('it failed', () => hooks.stats.disconnects === 1)
  clock.advance(49)
  assert.equal(node.connections.length, 1)
  clock.advance(1)
  assert.equal(node.connections.length, 2)
})

test('when the node is back, calls have answers again, without anybody doing anything', async (t) => {
  const all = await connectedFixture(t)
  const { node, clock, logger, hooks, get } = all
  clock.advance(1000)
  await lose(all)
  clock.advance(50)
  assert.equal(node.connections.length, 2)
  // It is there when it has answered, not before.
  assert.equal(await get(), undefined)
  assert.equal(hooks.stats.gets.unreachable, 1)
  await node.last.pong()
  await until('it is back', () => hooks.isConnected)
  const found = get()
  await node.last.answer('get', { kind: 'found', session: SESSION, ttlMs: 5 })
  assert.equal((await found)?.ttlMs, 5)
  const { connects, reconnects, disconnects } = hooks.stats
  assert.deepEqual(
    { connects, reconnects, disconnects },
    { connects: 2, reconnects: 1, disconnects: 1 },
  )
  assert.deepEqual(
    logger.lines.map(({ level, message }) => [level, message]),
    [
      ['debug', BACK],
      ['warn', AWAY],
      ['info', BACK],
    ],
  )
})

test('a node that comes and goes is tried less and less often, too', async (t) => {
  const all = await connectedFixture(t)
  const { node, clock, hooks } = all
  for (const waitMs of [100, 200, 400]) {
    await lose(all)
    const { length } = node.connections
    clock.advance(waitMs - 1)
    assert.equal(node.connections.length, length)
    clock.advance(1)
    assert.equal(node.connections.length, length + 1)
    await node.last.pong()
    await until('it is back', () => hooks.isConnected)
  }
})

test('a node that owes answers and says nothing is away after a second', async (t) => {
  const { node, clock, hooks, get, logger } = await connectedFixture(t)
  const first = get()
  clock.advance(999)
  assert.equal(await first, undefined)
  assert.equal(hooks.isConnected, true)
  clock.advance(251)
  assert.equal(hooks.isConnected, false)
  assert.equal(logger.lines.at(-1)?.fields['reason'], 'the node is silent')
  assert.equal(await get(), undefined)
  assert.deepEqual([hooks.stats.gets.late, hooks.stats.gets.unreachable], [1, 1])
  // The next one is taken, but nobody answers: as a process that was stopped would do.
  clock.advance(100)
  assert.equal(node.connections.length, 2)
  clock.advance(1250)
  assert.equal(hooks.stats.disconnects, 2)
})

test('a first connection that nobody answers is waited for as far as the deadline allows', async (t) => {
  const { clock, hooks, get } = remoteFixture(t)
  const first = get()
  clock.advance(50)
  assert.equal(await first, undefined)
  clock.advance(1250)
  assert.equal(await get(), undefined)
  assert.deepEqual([hooks.stats.gets.late, hooks.stats.gets.unreachable], [1, 1])
})

test('a connection that is not used is kept alive, and its loss is found', async (t) => {
  const { node, clock, hooks } = await connectedFixture(t)
  clock.advance(15_250)
  await node.last.pong()
  await until('the answer is read', () => node.last.requests.length === 0)
  await new Promise(setImmediate)
  clock.advance(15_250)
  assert.equal(hooks.isConnected, true)
  clock.advance(1250)
  assert.equal(hooks.isConnected, false)
})

test('a copy of the process makes a connection of its own', async (t) => {
  let pid = 1
  const { node, hooks, get } = await connectedFixture(t, { pid: () => pid })
  const [own] = node.connections
  const waiting = get()
  pid = 2
  const copy = get()
  assert.equal(node.connections.length, 2)
  await node.last.answer('get', { kind: 'found', session: SESSION, ttlMs: 5 })
  assert.equal((await copy)?.ttlMs, 5)
  assert.equal(await waiting, undefined)
  assert.equal(own?.requests.length, 1)
  assert.equal(hooks.stats.gets.unreachable, 1)
  // A copy of a process that knew the node to be away finds out for itself.
  node.last.stream.destroy()
  await until('the loss is known', () => hooks.stats.disconnects === 1)
  pid = 3
  const third = get()
  assert.equal(node.connections.length, 3)
  await node.last.answer('get', { kind: 'miss' })
  assert.equal(await third, undefined)
})

test('a close while the node is away ends the attempts', async (t) => {
  const all = await connectedFixture(t)
  await lose(all)
  await all.hooks.close()
  assert.equal(all.clock.pendingCount, 0)
})
