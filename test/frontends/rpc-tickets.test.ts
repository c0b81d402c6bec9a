// Ticket keys over the rpc frontend: sent at once and after each change, over a unix socket alone, never more than one
// frame ahead of a slow reader.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { Address } from '../../src/base/address.ts'
import { zeros } from '../../src/base/counters.ts'
import { Connection } from '../../src/frontends/rpc/conversation.ts'
import { RpcFrontend } from '../../src/frontends/rpc/frontend.ts'
import { RPC_COUNTERS } from '../../src/frontends/rpc/stats.ts'
import { TicketAuthority } from '../../src/tickets/authority.ts'
import { ringTimes } from '../../src/tickets/times.ts'
import { encodeHooksRequest, type HooksCall } from '../../src/wire/hooks-message.ts'
import { createCacheFixture } from '../support/cache-fixture.ts'
import { duplexPair } from '../support/duplex-pair.ts'
import type { FakeClock } from '../support/fake-clock.ts'
import { until } from '../support/latch.ts'
import { RpcClient } from '../support/rpc-client.ts'
import { seededBytes } from '../support/seeded-random.ts'

const HOUR_MS = 3_600_000
const WATCH: HooksCall = { kind: 'watchTickets', group: 'www' }
const ANY_PORT = { host: '127.0.0.1', port: 0 }
const NOW = { isImmediate: false, isRevoking: true }

function createAuthority(clock: FakeClock): TicketAuthority {
  const times = { rotateMs: HOUR_MS, lifetimeMs: HOUR_MS, waitMs: HOUR_MS }
  const authority = new TicketAuthority({
    groups: [{ name: 'www', times: ringTimes({ name: 'www', ...times }, []) }],
    nodeId: Buffer.from('edge-1'),
    clock,
    random: seededBytes('rpc tickets'),
  })
  return authority
}

async function setup(t: TestContext, address?: Address) {
  const { clock, hooks, logger } = createCacheFixture({})
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-rpc-tickets-'))
  const tickets = createAuthority(clock)
  const caches = new Map([['ssl', hooks]])
  const frontend = new RpcFrontend({
    ...{ caches, clock, logger, tickets },
    address: address ?? { path: join(folder, 'rpc.sock') },
    idleTimeoutMs: 10 * HOUR_MS,
  })
  await frontend.start()
  const clients: RpcClient[] = []
  t.after(async () => {
    for (const client of clients) client.close()
    tickets.stop()
    await frontend.stop()
    rmSync(folder, { recursive: true })
  })
  const connect = async () => {
    const client = await RpcClient.connect(frontend.address)
    clients.push(client)
    return client
  }
  return { clock, tickets, frontend, connect, stats: frontend.stats }
}

/** The names of the keys in each answer, by use. */
function shown(client: RpcClient): string[][] {
  return client.responses.map(({ number, result }) => {
    assert.equal(result.kind, 'ticketKeys')
    const { current, next, previous } = result
    const namesOf = (keys: readonly { readonly name: Buffer }[]) =>
      keys.map(({ name }) => name.toString('hex')).join()
    return [String(number), namesOf(current ? [current] : []), namesOf(next), namesOf(previous)]
  })
}

test('a watch gets the keys at once, and again after each change', async (t) => {
  const { clock, tickets, connect, stats, frontend } = await setup(t)
  assert.ok('path' in frontend.address)
  assert.equal(statSync(frontend.address.path).mode & 0o777, 0o600)
  const client = await connect()
  client.send(encodeHooksRequest(7, WATCH))
  await until('an empty ring is there', () => client.responses.length === 1)
  tickets.mayMake()
  await until('the first key is there', () => client.responses.length === 2)
  clock.advance(HOUR_MS * 1.1)
  await until('the next key is there', () => client.responses.length === 3)
  const { current, next } = tickets.source('www')?.view() ?? { next: [] }
  const [first, second] = [current, next[0]].map((one) => one?.key.hexName ?? '')
  assert.deepEqual(shown(client), [
    ['7', '', '', ''],
    ['7', first, '', ''],
    ['7', first, second, ''],
  ])
  const last = client.responses.at(-1)?.result
  assert.ok(last?.kind === 'ticketKeys')
  assert.ok(current?.key.secret.equals(last.current?.secret ?? Buffer.alloc(0)))
  const age = last.current?.ageMs ?? 0
  assert.ok(age >= HOUR_MS && age < 1.1 * HOUR_MS)
  assert.deepEqual([stats.ticketWatches, stats.ticketUpdates], [1, 3])
  client.close()
  await until('the connection is closed', () => stats.connections === 0)
  tickets.rotate('www', NOW)
  assert.equal(stats.ticketUpdates, 3)
})

test('other calls go on beside a watch, and a further watch of the group takes its place', async (t) => {
  const { tickets, connect, stats } = await setup(t)
  tickets.mayMake()
  const client = await connect()
  client.send(encodeHooksRequest(1, WATCH), encodeHooksRequest(2, { kind: 'ping' }))
  client.send(encodeHooksRequest(3, WATCH))
  await until('all are answered', () => client.responses.length === 3)
  tickets.rotate('www', NOW)
  await until('the change is there', () => client.responses.length === 4)
  assert.deepEqual(
    client.responses.map(({ number, result }) => [number, result.kind]),
    [
      [1, 'ticketKeys'],
      [2, 'pong'],
      [3, 'ticketKeys'],
      [3, 'ticketKeys'],
    ],
  )
  assert.equal(stats.ticketWatches, 2)
})

test('keys go over a unix socket alone, and only of groups that are there', async (t) => {
  const overTcp = await setup(t, ANY_PORT)
  overTcp.tickets.mayMake()
  const forbidden = { kind: 'error', code: 'forbidden' }
  assert.deepEqual(await (await overTcp.connect()).ask(1, WATCH), forbidden)
  assert.deepEqual([overTcp.stats.forbidden, overTcp.stats.ticketUpdates], [1, 0])
  const { connect, stats } = await setup(t)
  const client = await connect()
  const api: HooksCall = { kind: 'watchTickets', group: 'api' }
  assert.deepEqual(await client.ask(1, api), { kind: 'error', code: 'no_such_group' })
  assert.deepEqual(await client.ask(2, { kind: 'ping' }), { kind: 'pong' })
  assert.deepEqual([stats.unknownGroups, stats.ticketWatches], [1, 0])
})

/** A connection whose peer reads by command, and what was written into it. */
function slowReader(t: TestContext) {
  const { clock, logger } = createCacheFixture({})
  const tickets = createAuthority(clock)
  tickets.mayMake()
  const [here, there] = duplexPair()
  const written: Buffer[] = []
  const taken: (() => void)[] = []
  here._write = (chunk: Buffer, _encoding, done) => {
    written.push(chunk)
    taken.push(() => done())
  }
  const stats = zeros(RPC_COUNTERS)
  const failures = { pass: () => {} }
  const parts = { caches: new Map(), stats, logger, failures: failures as never, tickets }
  const connection = new Connection(here, parts, {
    clock,
    idleTimeoutMs: 60_000,
    stallTimeoutMs: 10_000,
    onClose: () => {},
  })
  t.after(() => {
    connection.close()
    tickets.stop()
  })
  there.write(encodeHooksRequest(1, WATCH))
  return { clock, tickets, connection, written, taken, stats, there }
}

test('changes are joined while the peer does not read, and sent frames are erased', async (t) => {
  const { tickets, written, taken, stats } = slowReader(t)
  await until('the first keys are written', () => written.length === 1)
  for (let count = 0; count < 5; count += 1) tickets.rotate('www', NOW)
  assert.equal(stats.ticketUpdates, 1)
  assert.ok(written[0]?.some((byte) => byte !== 0))
  taken.shift()?.()
  await until('the newest keys are written', () => written.length === 2)
  assert.ok(written[0]?.every((byte) => byte === 0))
  const current = tickets.source('www')?.view().current?.key
  assert.ok(written[1]?.includes(current?.secret ?? 'no key'))
  assert.equal(stats.ticketUpdates, 2)
})

test('a peer that pings and does not read its keys is overdue, and they are erased with the connection', async (t) => {
  const { clock, connection, written, taken, tickets, stats } = slowReader(t)
  await until('the first keys are written', () => written.length === 1)
  assert.equal(connection.isOverdue(clock.monotonicMs() + 9999), false)
  assert.equal(connection.isOverdue(clock.monotonicMs() + 10_000), true)
  tickets.rotate('www', NOW)
  connection.close()
  // A socket ends its writes when it is closed.
  taken.shift()?.()
  await until('they are erased', () => written[0]?.every((byte) => byte === 0) === true)
  assert.equal(stats.ticketUpdates, 1)
})
