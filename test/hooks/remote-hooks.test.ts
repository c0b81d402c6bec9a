// Hooks on a node in another process: what is asked and answered, deadlines, limits and mistakes.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ConnectOptions, connectHooks, RemoteHooks } from '../../src/hooks/remote-hooks.ts'
import { BusyClock } from '../support/busy-clock.ts'
import { until } from '../support/latch.ts'
import { CONTEXT, connectedFixture, ID, remoteFixture, SESSION } from '../support/remote-fixture.ts'

test('no connection before the first call; then one for all of them', async (t) => {
  const { node, hooks, get } = remoteFixture(t)
  assert.equal(node.connections.length, 0)
  const gets = [get(), get(), get()]
  assert.equal(node.connections.length, 1)
  const result = { kind: 'found', session: SESSION, ttlMs: 5 } as const
  for (const _ of gets) await node.last.answer('get', result)
  for (const found of await Promise.all(gets)) {
    assert.deepEqual(found, { session: SESSION, ttlMs: 5 })
  }
  assert.equal(hooks.stats.gets.hit, 3)
})

test('the node gets the calls with the arguments that were given', async (t) => {
  const { node, hooks } = await connectedFixture(t)
  const calls = [
    hooks.get(CONTEXT, ID, 'www.test'),
    hooks.put({ context: CONTEXT, id: ID, session: SESSION }),
    hooks.put({ context: CONTEXT, id: ID, session: SESSION, ttlMs: 1500.7, serverName: '' }),
    hooks.put({ context: CONTEXT, id: ID, session: SESSION, ttlMs: -1 }),
    hooks.put({ context: CONTEXT, id: ID, session: SESSION, ttlMs: Number.POSITIVE_INFINITY }),
    hooks.remove(CONTEXT, ID),
  ]
  await until('all are asked', () => node.last.requests.length === calls.length)
  const shared = { cache: 'ssl', context: CONTEXT, id: ID }
  const put = { kind: 'put', ...shared, session: SESSION }
  assert.deepEqual(
    node.last.requests.map(({ call }) => call),
    [
      { kind: 'get', ...shared, serverName: 'www.test' },
      { ...put, ttlMs: undefined, serverName: undefined },
      { ...put, ttlMs: 1500, serverName: '' },
      { ...put, ttlMs: 0, serverName: undefined },
      { ...put, ttlMs: 604_800_000, serverName: undefined },
      { kind: 'remove', ...shared },
    ],
  )
  await hooks.close()
  await Promise.allSettled(calls)
})

test('answers find their calls in whatever order they come', async (t) => {
  const { node, hooks } = await connectedFixture(t)
  const get = hooks.get(CONTEXT, ID)
  const put = hooks.put({ context: CONTEXT, id: ID, session: SESSION })
  const refused = hooks.put({ context: CONTEXT, id: ID, session: SESSION })
  const remove = hooks.remove(CONTEXT, ID)
  const nothing = hooks.remove(CONTEXT, ID)
  await node.last.answer('remove', { kind: 'removed', wasThere: true })
  await node.last.answer('remove', { kind: 'removed', wasThere: false })
  await node.last.answer('put', { kind: 'stored', result: 'replaced' })
  await node.last.answer('put', { kind: 'stored', result: 'full' })
  await node.last.answer('get', { kind: 'miss' })
  assert.deepEqual(await Promise.all([get, put, refused, remove, nothing]), [
    undefined,
    'replaced',
    'full',
    true,
    false,
  ])
  const { puts, removes } = hooks.stats
  assert.deepEqual([puts.stored, puts.refused, removes.removed, removes.miss], [1, 1, 1, 1])
})

test('a late answer is none: a get misses, put and remove reject, and the connection stays', async (t) => {
  const { node, clock, hooks } = await connectedFixture(t)
  const get = hooks.get(CONTEXT, ID)
  const put = hooks.put({ context: CONTEXT, id: ID, session: SESSION })
  const remove = hooks.remove(CONTEXT, ID)
  clock.advance(50)
  assert.equal(await get, undefined)
  await assert.rejects(put, { code: 'ERR_DEADLINE' })
  await assert.rejects(remove, { code: 'ERR_DEADLINE' })
  await node.last.answer('get', { kind: 'found', session: SESSION, ttlMs: 5 })
  await node.last.answer('put', { kind: 'stored', result: 'stored' })
  await until('the answers came', () => hooks.stats.lateAnswers === 2)
  const again = hooks.get(CONTEXT, ID)
  await node.last.answer('get', { kind: 'miss' })
  assert.equal(await again, undefined)
  const { gets, puts, removes, disconnects } = hooks.stats
  assert.deepEqual([gets.late, puts.late, removes.late, gets.miss, disconnects], [1, 1, 1, 2, 0])
})

test('the deadline is the one that was asked for', async (t) => {
  const { clock, get } = await connectedFixture(t, { deadlineMs: 7.5 })
  const late = get()
  let isOver = false
  void late.then(() => {
    isOver = true
  })
  clock.advance(7)
  await new Promise(setImmediate)
  assert.equal(isOver, false)
  clock.advance(0.5)
  assert.equal(await late, undefined)
})

test('an answer that came while this process was busy is not late', async (t) => {
  const clock = new BusyClock()
  const { node, hooks, get } = remoteFixture(t, {}, clock)
  const found = get()
  const late = get()
  clock.advance(1000)
  // Both calls, and the verdict that the node is silent.
  assert.equal(clock.heldCount, 3)
  await node.last.answer('get', { kind: 'found', session: SESSION, ttlMs: 5 })
  assert.equal((await found)?.ttlMs, 5)
  clock.handled()
  assert.equal(await late, undefined)
  assert.deepEqual([hooks.stats.gets.hit, hooks.stats.gets.late], [1, 1])
  assert.equal(hooks.stats.disconnects, 0)
})

for (const [name, bytes] of [
  ['a frame that is too long', '7fffffff'],
  ['what is no response', '00000002ffff'],
  ['an answer to nothing', '0000000408631a00'],
] as const) {
  test(`${name} ends the connection`, async (t) => {
    const { node, hooks, get, logger } = await connectedFixture(t)
    const waiting = get()
    node.last.stream.write(Buffer.from(bytes, 'hex'))
    assert.equal(await waiting, undefined)
    assert.equal(hooks.stats.disconnects, 1)
    assert.equal(logger.lines.at(-1)?.fields['reason'], 'what came is no answer')
  })
}

test('an error of the node is a miss or a rejection with its reason, logged once a second', async (t) => {
  const { node, hooks, get, logger } = await connectedFixture(t)
  const error = { kind: 'error', code: 'no_such_cache' } as const
  const missed = get()
  await node.last.answer('get', error)
  assert.equal(await missed, undefined)
  const put = hooks.put({ context: CONTEXT, id: ID, session: SESSION })
  await node.last.answer('put', error)
  await assert.rejects(put, { code: 'ERR_CACHE' })
  const remove = hooks.remove(CONTEXT, ID)
  await node.last.answer('remove', { kind: 'error', code: 'internal' })
  await assert.rejects(remove, { code: 'ERR_INTERNAL' })
  const other = hooks.put({ context: CONTEXT, id: ID, session: SESSION })
  await node.last.answer('put', { kind: 'pong' })
  await assert.rejects(other, { code: 'ERR_INTERNAL' })
  const { gets, puts, removes } = hooks.stats
  assert.deepEqual([gets.failed, puts.failed, removes.failed], [1, 2, 1])
  assert.deepEqual(
    logger.lines.filter(({ level }) => level === 'warn').map(({ fields }) => fields),
    [{ cache: 'ssl', reason: 'the node has no cache of this name', heldBack: 0 }],
  )
})

test('more calls than may wait fail at once', async (t) => {
  const { hooks, get } = await connectedFixture(t)
  const waiting = Array.from({ length: 4096 }, get)
  assert.equal(await get(), undefined)
  await assert.rejects(hooks.put({ context: CONTEXT, id: ID, session: SESSION }), {
    code: 'ERR_UNREACHABLE',
    message: 'too many calls wait for the node',
  })
  assert.deepEqual([hooks.stats.gets.overloaded, hooks.stats.puts.overloaded], [1, 1])
  await hooks.close()
  await Promise.all(waiting)
})

test('more bytes than may wait fail at once', async (t) => {
  const { node, hooks } = await connectedFixture(t)
  node.last.stream.pause()
  const large = Buffer.alloc(65_536)
  const waiting = Array.from({ length: 80 }, () =>
    hooks.put({ context: CONTEXT, id: ID, session: large }).catch(() => undefined),
  )
  await hooks.put({ context: CONTEXT, id: ID, session: SESSION }).catch(() => undefined)
  assert.ok(hooks.stats.puts.overloaded > 10, `${hooks.stats.puts.overloaded}`)
  await hooks.close()
  await Promise.all(waiting)
})

test('after the close nothing is left, and calls have no answer', async (t) => {
  const { node, clock, hooks, get } = await connectedFixture(t)
  const waiting = get()
  await hooks.close()
  await hooks.close()
  assert.equal(await waiting, undefined)
  assert.equal(await get(), undefined)
  await assert.rejects(hooks.put({ context: CONTEXT, id: ID, session: SESSION }), {
    code: 'ERR_UNREACHABLE',
  })
  assert.equal(clock.pendingCount, 0)
  await until('the node sees the end', () => node.last.stream.destroyed)
  clock.advance(10_000)
  assert.equal(node.connections.length, 1)
})

test('what no request can hold is refused as the store would, without asking', async (t) => {
  const { node, hooks } = remoteFixture(t)
  const tooLong = Buffer.alloc(256)
  const name = 'n'.repeat(256)
  assert.equal(await hooks.get(CONTEXT, tooLong), undefined)
  assert.equal(await hooks.get(CONTEXT, Buffer.alloc(0)), undefined)
  assert.equal(await hooks.get(CONTEXT, ID, name), undefined)
  assert.equal(await hooks.put({ context: CONTEXT, id: tooLong, session: SESSION }), 'keysize')
  assert.equal(await hooks.put({ context: CONTEXT, id: ID, session: Buffer.alloc(0) }), 'blocksize')
  assert.equal(
    await hooks.put({ context: CONTEXT, id: ID, session: Buffer.alloc(65_537) }),
    'blocksize',
  )
  assert.equal(
    await hooks.put({ context: CONTEXT, id: ID, session: SESSION, serverName: name }),
    'context',
  )
  assert.equal(await hooks.remove(CONTEXT, tooLong), false)
  const longContext = Buffer.alloc(33)
  await assert.rejects(hooks.get(longContext, ID), { code: 'ERR_CONTEXT' })
  await assert.rejects(hooks.put({ context: longContext, id: ID, session: SESSION }), {
    code: 'ERR_CONTEXT',
  })
  await assert.rejects(hooks.remove(longContext, ID), { code: 'ERR_CONTEXT' })
  assert.equal(node.connections.length, 0)
  const { gets, puts, removes } = hooks.stats
  assert.deepEqual([gets.miss, puts.refused, removes.miss], [3, 4, 1])
})

const mistakes: readonly (readonly [string, string, object, string, RegExp])[] = [
  ['no address', 'rpc.sock', { cache: 'ssl' }, 'ERR_ADDRESS', /"rpc\.sock"/],
  ['no port', '127.0.0.1:0', { cache: 'ssl' }, 'ERR_ADDRESS', /without a port/],
  ['beyond loopback', '10.0.0.1:7172', { cache: 'ssl' }, 'ERR_INSECURE', /10\.0\.0\.1:7172: run/],
  ['no cache', 'unix:/x', {}, 'ERR_USAGE', /cache must be/],
  ['no name of a cache', 'unix:/x', { cache: 'a/b' }, 'ERR_USAGE', /cache must be/],
  ['no deadline', 'unix:/x', { cache: 'a', deadlineMs: 0 }, 'ERR_USAGE', /deadlineMs must be/],
  ['a deadline as text', 'unix:/x', { cache: 'a', deadlineMs: '50ms' }, 'ERR_USAGE', /deadlineMs/],
  ['an unknown option', 'unix:/x', { cache: 'a', deadline: 5 }, 'ERR_USAGE', /option "deadline"/],
]
for (const [name, address, options, code, message] of mistakes) {
  test(`a mistake: ${name}`, () => {
    assert.throws(() => connectHooks(address, options as ConnectOptions), { code, message })
  })
}

test('beyond loopback when the caller insists', async () => {
  const hooks = connectHooks('10.0.0.1:7172', { cache: 'ssl', insecure: true })
  assert.ok(hooks instanceof RemoteHooks)
  await hooks.close()
})
