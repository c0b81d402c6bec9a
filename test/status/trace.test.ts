// Where a session is, and what is noted of one that is followed.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { silentLogger } from '../../src/base/world.ts'
import { ContextlessHooks } from '../../src/hooks/contextless-hooks.ts'
import { traceEverywhere, traceHere } from '../../src/status/trace.ts'
import { Followed, MAX_EVENTS, MAX_FOLLOWED } from '../../src/store/followed.ts'
import { SessionStore } from '../../src/store/session-store.ts'
import { VersionClock } from '../../src/store/versions.ts'
import { FakeClock } from '../support/fake-clock.ts'

const CONTEXT = Buffer.from('shop')
const ID = Buffer.from('a0a1a2a3'.repeat(8), 'hex')
const PREFIX = ID.subarray(0, 4)
const ORIGIN = 0x1b8e1c8afbcb

function setUp() {
  const clock = new FakeClock()
  const followed = new Followed(clock)
  const limits = {
    ...{ name: 'ssl', items: 100, keysize: 32, blocksize: 100 },
    ...{ timeoutMs: 300_000, full: 'evict' as const },
  }
  const versions = new VersionClock(clock)
  const options = { clock, versions, origin: ORIGIN, seed: Buffer.alloc(16, 1), followed }
  const store = new SessionStore(limits, options)
  const hooks = new ContextlessHooks(store, { clock, logger: silentLogger, followed })
  const stores = new Map([['ssl', store]])
  const node = { nodeName: 'edge-1', origin: ORIGIN, stores, followed, clock }
  const put = (id: Buffer, bytes = 50) =>
    hooks.put({ context: CONTEXT, id, session: Buffer.alloc(bytes, 1), serverName: 'www.test' })
  return { clock, followed, store, hooks, node, put }
}

test('an entry with its lifetime, context and the node that made it, and none of its bytes', async () => {
  const { node, put, clock } = setUp()
  put(ID)
  clock.advance(1000)
  const { entries, events, origin } = await traceHere(node, ID, 0)
  assert.equal(origin, '1b8e1c8afbcb')
  assert.deepEqual(entries, [
    {
      ...{ cache: 'ssl', id: 'a0a1a2a3..', state: 'session', ttl_ms: 299_000 },
      changed_at: new Date(clock.wallMs() - 1000).toISOString(),
      ...{ origin: '1b8e1c8afbcb', bytes: 50 },
      ...{ context_hex: CONTEXT.toString('hex'), server_name: 'www.test' },
    },
  ])
  assert.deepEqual(events, [])
})

test('the beginning of an ID finds all that begin so, and a removal is one, too', async () => {
  const { node, put, hooks } = setUp()
  const other = Buffer.from('a0a1a2a3ffff', 'hex')
  const third = Buffer.from('a0a1a2a4', 'hex')
  for (const id of [ID, other, third]) put(id)
  hooks.remove(CONTEXT, other)
  const found = await traceHere(node, PREFIX, 0)
  assert.deepEqual(found.entries.map(({ state }) => state).sort(), ['removed', 'session'])
  const short = await traceHere(node, PREFIX.subarray(0, 3), 0)
  assert.deepEqual(short.entries, [])
})

test('gets are noted by result while the session is followed, and not before or after', async () => {
  const { node, put, hooks, clock, followed } = setUp()
  put(ID)
  hooks.get(CONTEXT, ID)
  assert.equal(followed.isActive, false)
  await traceHere(node, PREFIX, 15_000)
  assert.equal(followed.isActive, true)
  hooks.get(CONTEXT, ID)
  hooks.get(Buffer.from('mail'), ID)
  hooks.getAny(ID)
  hooks.get(CONTEXT, Buffer.alloc(32, 9))
  clock.advance(500)
  const { events } = await traceHere(node, PREFIX, 0)
  assert.deepEqual(
    events.map(({ number, what, result, age_ms: age }) => [number, what, result, age]),
    [
      [1, 'get', 'hit', 500],
      [2, 'get', 'context_mismatch', 500],
      [3, 'get', 'hit', 500],
    ],
  )
  clock.advance(15_000)
  hooks.get(CONTEXT, ID)
  assert.equal(followed.isActive, false)
  assert.deepEqual((await traceHere(node, PREFIX, 0)).events, [])
})

test('gets that are carried out together are noted', async () => {
  const { node, put, hooks } = setUp()
  put(ID)
  await traceHere(node, PREFIX, 15_000)
  const lookups = hooks.lookupsIn(ID)
  hooks.together(() => {
    const lookup = lookups.add(0, ID.length) ?? assert.fail('no room')
    lookups.find()
    hooks.getFound(lookups, lookup)
  })
  const { events } = await traceHere(node, PREFIX, 0)
  assert.deepEqual(
    events.map(({ result }) => result),
    ['hit'],
  )
})

test('a put that is refused is noted with the reason', async () => {
  const { node, put } = setUp()
  await traceHere(node, PREFIX, 15_000)
  put(ID, 101)
  const { events } = await traceHere(node, PREFIX, 0)
  assert.deepEqual(
    events.map(({ what, result, by }) => [what, result, by]),
    [['put', 'blocksize', 'local']],
  )
})

test('a session that leaves by itself is noted: pushed out, swept, or asked for too late', async () => {
  const { node, put, hooks, store, clock } = setUp()
  const id = (last: number) => Buffer.concat([PREFIX, Buffer.from([last])])
  await traceHere(node, PREFIX, 15_000)
  put(id(0))
  for (let other = 1; other <= 100; other += 1) put(Buffer.alloc(32, other))
  const short = { context: CONTEXT, session: Buffer.alloc(50, 1), ttlMs: 1000 }
  for (const last of [1, 2]) hooks.put({ ...short, id: id(last) })
  clock.advance(1000)
  hooks.get(CONTEXT, id(1))
  store.sweepOne(true)
  store.sweepOne(true)
  const { events } = await traceHere(node, PREFIX, 0)
  const endings = events.filter(({ by }) => by === 'node')
  assert.deepEqual(
    endings.map(({ what, result, origin }) => [what, result, origin]),
    [
      ['evict', 'done', null],
      ['expire', 'done', null],
      ['expire', 'done', null],
    ],
  )
})

test('the number of followed sessions, and of events of each, is bounded', () => {
  const { followed } = setUp()
  const event = {
    cache: 'ssl',
    what: 'get',
    result: 'hit',
    by: 'local',
    origin: undefined,
  } as const
  for (let index = 0; index <= MAX_FOLLOWED; index += 1)
    followed.follow(Buffer.alloc(4, index), 1000)
  followed.note(Buffer.alloc(4, 0), event)
  assert.deepEqual(followed.eventsOf(Buffer.alloc(4, 0)), [])
  const last = Buffer.alloc(4, MAX_FOLLOWED)
  for (let count = 0; count < MAX_EVENTS + 5; count += 1) followed.note(last, event)
  const events = followed.eventsOf(last)
  assert.equal(events.length, MAX_EVENTS)
  assert.equal(events.at(-1)?.number, MAX_EVENTS + 5)
})

test('a peer that is old, silent, late or malformed has no trace, and keeps nobody waiting', async () => {
  const { node, clock } = setUp()
  const peer = (nodeName: string, version = 3) => ({ nodeName, version, isRepeater: false })
  const answers: Record<string, () => Promise<Buffer>> = {
    malformed: async () => Buffer.from('{"node":1}'),
    broken: async () => {
      throw new Error('broken')
    },
    late: () => new Promise(() => {}),
    good: async () =>
      Buffer.from(JSON.stringify(await traceHere({ ...node, nodeName: 'good' }, ID, 0))),
  }
  const peers = [peer('old', 2), ...Object.keys(answers).map((name) => peer(name))]
  const ask = ({ nodeName }: { nodeName: string }) =>
    answers[nodeName]?.() ?? Promise.reject(Error())
  const asked = traceEverywhere(traceHere(node, ID, 0), peers, ask, clock)
  await new Promise((resolve) => setImmediate(resolve))
  clock.advance(2000)
  const { nodes } = await asked
  assert.deepEqual(
    nodes.map(({ node: name, state }) => [name, state]),
    [
      ['edge-1', 'told'],
      ['old', 'older'],
      ['malformed', 'no_answer'],
      ['broken', 'no_answer'],
      ['late', 'no_answer'],
      ['good', 'told'],
    ],
  )
})
