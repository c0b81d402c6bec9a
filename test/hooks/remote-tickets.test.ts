// Ticket keys from a node in another process that is slow, refuses, goes away and comes back. The clock moves by command.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { connectTicketKeys } from '../../src/hooks/remote-tickets.ts'
import { openedKeys } from '../../src/tickets/rule.ts'
import type { HooksResult, TicketKeysResult } from '../../src/wire/hooks-message.ts'
import type { OfferedKey } from '../../src/wire/ring-message.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { until } from '../support/latch.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { ScriptedNode } from '../support/scripted-node.ts'
import { seededBytes } from '../support/seeded-random.ts'

const AWAY = 'the node with the ticket keys of www is away: tickets go on under the last ones'
/** Number of the watch on the first connection, after two pings; on later ones it comes after one. */
const FIRST_WATCH = 3
const random = seededBytes('remote tickets')

function newKey(ageMs = 0): OfferedKey {
  return { name: random(16), secret: random(96), ageMs }
}

function keys(fields: Partial<TicketKeysResult>): TicketKeysResult {
  return { kind: 'ticketKeys', current: undefined, next: [], previous: [], ...fields }
}

function fixture(t: TestContext) {
  const node = new ScriptedNode()
  const clock = new FakeClock()
  const logger = new RecordingLogger()
  const { connect } = node
  const options = { group: 'www', clock, logger, connect, random: () => Buffer.alloc(4, 0xff) }
  const source = connectTicketKeys('unix:/nowhere', options)
  t.after(() => source.close())
  let changes = 0
  source.onChange(() => {
    changes += 1
  })
  const names = () => openedKeys(source.view()).map(({ key }) => key.hexName)
  return { node, clock, logger, source, names, changes: () => changes }
}

/** Lets the node be there and answer the watch. */
async function connected(t: TestContext, result: HooksResult) {
  const all = fixture(t)
  await answer(all.node, result)
  await until('it was taken', () => all.source.stats.updates + refusals(all.source.stats) === 1)
  return all
}

async function answer(node: ScriptedNode, result: HooksResult): Promise<void> {
  await node.last.pong()
  await node.last.pong()
  await node.last.answer('watchTickets', result)
}

function refusals({ refused }: { readonly refused: Readonly<Record<string, number>> }): number {
  return Object.values(refused).reduce((sum, count) => sum + count, 0)
}

test('asks for its group as soon as the node is there, and shows the keys by use and age', async (t) => {
  const [current, next, previous] = [newKey(5000), newKey(), newKey(9000)]
  const { source, clock, node, changes } = await connected(
    t,
    keys({ current, next: [next], previous: [previous] }),
  )
  const view = source.view()
  assert.ok(view.current?.key.secret.equals(current.secret))
  assert.equal(view.current?.bornMs, clock.monotonicMs() - 5000)
  assert.deepEqual([view.next.length, view.previous.length, changes()], [1, 1, 1])
  assert.equal(await source.open(), true)
  assert.equal(node.connections.length, 1)
})

test('what comes later replaces what was there; keys that are gone are erased, others stay the same', async (t) => {
  const [first, second, third] = [newKey(), newKey(), newKey()]
  const { source, node, changes } = await connected(t, keys({ current: first, next: [second] }))
  const [old, kept] = [source.view().current, source.view().next[0]]
  node.last.push(FIRST_WATCH, keys({ current: second, next: [third] }))
  await until('it was taken', () => changes() === 2)
  assert.equal(source.view().current?.key, kept?.key)
  assert.ok(kept?.key.secret.equals(second.secret))
  assert.ok(old?.key.secret.every((byte) => byte === 0))
})

test('while the node is away the last keys stay, and the next connection asks again', async (t) => {
  const first = newKey()
  const { source, node, clock, logger, names } = await connected(t, keys({ current: first }))
  clock.advance(1000)
  node.last.stream.destroy()
  await until('the loss is known', () => source.stats.disconnects === 1)
  assert.deepEqual(names(), [first.name.toString('hex')])
  assert.equal(logger.lines.at(-1)?.message, AWAY)
  clock.advance(50)
  assert.equal(node.connections.length, 2)
  // A node that has just started has no keys yet.
  await node.last.pong()
  await node.last.answer('watchTickets', keys({}))
  await until('it was taken', () => source.stats.updates === 2)
  assert.deepEqual(names(), [first.name.toString('hex')])
  const second = newKey()
  node.last.push(2, keys({ current: second, previous: [first] }))
  await until('the new key is there', () => names().length === 2)
  assert.equal(source.stats.reconnects, 1)
})

test('what the node refuses is counted by reason and logged; the server goes on', async (t) => {
  for (const code of ['no_such_group', 'forbidden', 'unknown_call'] as const) {
    const { source, logger } = await connected(t, { kind: 'error', code })
    assert.equal(source.stats.refused[code], 1)
    assert.equal(logger.lines.at(-1)?.level, 'warn')
    assert.equal(source.view().current, undefined)
    assert.equal(source.isConnected, true)
  }
  const { source } = await connected(t, { kind: 'error', code: 'internal' })
  assert.equal(source.stats.refused.failed, 1)
})

test('a listener that throws harms neither the others nor the connection', async (t) => {
  const { source, node, changes, logger } = fixture(t)
  source.onChange(() => {
    throw new Error('made up')
  })
  let later = 0
  const end = source.onChange(() => {
    later += 1
  })
  await answer(node, keys({ current: newKey() }))
  await until('all heard of it', () => later === 1 && changes() === 1)
  assert.equal(logger.lines.at(-1)?.fields['reason'], 'made up')
  end()
  node.last.push(FIRST_WATCH, keys({ current: newKey() }))
  await until('it was taken', () => changes() === 2)
  assert.equal(later, 1)
})

test('open waits for keys as long as it is told to; close erases them and ends all attempts', async (t) => {
  const { source, node, clock, names } = fixture(t)
  const late = source.open(300)
  clock.advance(300)
  assert.equal(await late, false)
  const opened = source.open()
  await answer(node, keys({ current: newKey() }))
  assert.equal(await opened, true)
  const { current } = source.view()
  source.close()
  source.close()
  assert.deepEqual(names(), [])
  assert.ok(current?.key.secret.every((byte) => byte === 0))
  assert.equal(clock.pendingCount, 0)
})

test('wrong options are errors that name the option', () => {
  const options = { group: 'www' }
  assert.throws(() => connectTicketKeys('127.0.0.1:5003', options), {
    code: 'ERR_ADDRESS',
    message: '"127.0.0.1:5003" is no unix socket: ticket keys go over unix:/path alone',
  })
  assert.throws(() => connectTicketKeys('unix:/a', { group: '../x' }), { code: 'ERR_USAGE' })
  assert.throws(() => connectTicketKeys('unix:/a', { ...options, cache: 'ssl' } as never), {
    code: 'ERR_USAGE',
    message:
      'connectTicketKeys: unknown option "cache"; there are group, logger, clock, random, connect',
  })
})
