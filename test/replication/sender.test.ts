// What is known of one boot of another node: how far away it is and how its clock goes.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Sender } from '../../src/replication/live/senders.ts'
import { createIdentity } from '../../src/wire/identity.ts'
import { seededBytes } from '../support/seeded-random.ts'

function newSender(): Sender {
  return new Sender(
    createIdentity('other', seededBytes('other')),
    { host: '10.0.0.1', port: 7171 },
    0,
  )
}

test('the shortest round trip counts, also in the period after it, and no single bad one', () => {
  const sender = newSender()
  assert.deepEqual([sender.roundTripMs, sender.clockDifferenceMs], [0, undefined])
  const after: [number, number, number][] = []
  for (const [nowMs, roundTripMs] of [
    [0, 40],
    [3000, 2],
    [6000, 9],
    [31_000, 800],
    [34_000, 3],
    [61_000, 500],
    [64_000, 4],
    [91_000, 6],
  ] as const) {
    // Its clock is an hour ahead, and what it says is as old as half the way.
    sender.measureClock(3_600_000 + nowMs - roundTripMs / 2, nowMs, roundTripMs, nowMs)
    after.push([nowMs, sender.roundTripMs, sender.clockDifferenceMs ?? 0])
  }
  assert.deepEqual(after, [
    [0, 40, 3_600_000],
    [3000, 2, 3_600_000],
    [6000, 2, 3_600_000],
    [31_000, 2, 3_600_000],
    [34_000, 2, 3_600_000],
    [61_000, 3, 3_600_000],
    [64_000, 3, 3_600_000],
    [91_000, 4, 3_600_000],
  ])
})

test('an answer takes a round trip, or longer when what arrives had to wait', () => {
  const sender = newSender()
  sender.measureClock(0, 0, 4, 0)
  assert.equal(sender.answerMs, 4)
  sender.noteLag(1, 0)
  assert.equal(sender.answerMs, 4)
  sender.noteLag(80, 0)
  assert.equal(sender.answerMs, 82)
})

test('changes press while they wait here, not because their way is long, nor when none come any more', () => {
  const sender = newSender()
  sender.measureClock(0, 0, 300, 0)
  assert.equal(sender.isPressing(0), false)
  sender.noteLag(150, 1000)
  assert.equal(sender.isPressing(1000), false)
  sender.noteLag(190, 2000)
  assert.equal(sender.isPressing(2000), true)
  assert.equal(sender.isPressing(2500), false)
  sender.noteLag(160, 2600)
  assert.equal(sender.isPressing(2600), false)
})
