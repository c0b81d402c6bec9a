// The end of a turn: all commands first, then all answers, of everybody once and in their order.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { zeros } from '../../src/base/counters.ts'
import { Entries } from '../../src/frontends/memcached/entries.ts'
import { Turn, type TurnMember } from '../../src/frontends/memcached/fast/turn.ts'
import { MEMCACHED_COUNTERS } from '../../src/frontends/memcached/stats.ts'
import { createCacheFixture } from '../support/cache-fixture.ts'
import type { FakeClock } from '../support/fake-clock.ts'

/** Room in the memory of a turn. */
const INPUT_BYTES = 262_144

interface Fixture {
  readonly turn: Turn
  readonly clock: FakeClock
  /** What happened, in its order. */
  readonly log: string[]
  readonly member: (name: string) => TurnMember
}

function setup(): Fixture {
  const log: string[] = []
  const { clock, hooks } = createCacheFixture()
  const turn = new Turn(hooks, new Entries(hooks, clock, zeros(MEMCACHED_COUNTERS)))
  const member = (name: string) => ({
    takeOver: () => log.push(`${name} takes over`),
    carryOut: (nowMs: number) => log.push(`${name} at ${nowMs}`),
    sendAnswers: () => log.push(`${name} answers`),
  })
  return { turn, clock, log, member }
}

test('all commands are carried out, then all answers are sent, once', async () => {
  const { turn, clock, log, member } = setup()
  turn.add(member('a'))
  turn.add(member('b'))
  assert.deepEqual(log, [])
  await nextTurn()
  const nowMs = clock.monotonicMs()
  const carriedOut = [`a at ${nowMs}`, `b at ${nowMs}`]
  assert.deepEqual(log, [...carriedOut, 'a answers', 'b answers'])
  log.length = 0
  turn.add(member('c'))
  await nextTurn()
  assert.deepEqual(log, [`c at ${nowMs}`, 'c answers'])
})

test('a connection that is added while answers are sent has the next turn', async () => {
  const { turn, log, member } = setup()
  const again = {
    ...member('a'),
    sendAnswers: () => {
      log.push('a answers')
      if (log.length < 3) turn.add(again)
    },
  }
  turn.add(again)
  await nextTurn()
  assert.equal(log.filter((line) => line === 'a answers').length, 1)
  await nextTurn()
  assert.equal(log.filter((line) => line === 'a answers').length, 2)
})

test('a turn that was ended before has nothing left at its end', async () => {
  const { turn, log, member } = setup()
  turn.add(member('a'))
  turn.end()
  const { length } = log
  assert.equal(length, 2)
  turn.add(member('b'))
  await nextTurn()
  assert.deepEqual(
    log.slice(length).filter((line) => line.startsWith('a')),
    [],
  )
  assert.equal(log.filter((line) => line === 'b answers').length, 1)
})

test('answers are sent when there are many, whole for each, before others are carried out', () => {
  const { turn, log, member } = setup()
  for (const name of ['a', 'b', 'c', 'd', 'e']) {
    const one = member(name)
    const carryOut = (nowMs: number) => {
      one.carryOut(nowMs)
      turn.output.bytes(Buffer.alloc(40_000))
    }
    turn.add({ ...one, carryOut })
  }
  turn.end()
  assert.deepEqual(
    log.map((line) => line.replace(/ at .*/, '')),
    ['a', 'b', 'a answers', 'b answers', 'c', 'd', 'c answers', 'd answers', 'e', 'e answers'],
  )
})

test('what came in and what was answered is gone when the turn ends', () => {
  const { turn } = setup()
  const bytes = Buffer.from('get a')
  assert.equal(turn.input.add(bytes, bytes.length), 0)
  turn.output.text('END')
  const wasFull = !turn.input.hasRoomFor(INPUT_BYTES)
  turn.end()
  assert.ok(wasFull && turn.input.hasRoomFor(INPUT_BYTES))
  assert.equal(turn.output.length, 0)
})
