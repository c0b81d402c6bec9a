// What is known of one boot of another node: how far away it is and how its clock goes.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Sender } from '../../src/replication/sender.ts'
import { createIdentity } from '../../src/wire/identity.ts'
import { seededBytes } from '../support/seeded-random.ts'

function newSender(): Sender {
  const { senderId, bootId } = createIdentity('other', seededBytes('other'))
  const header = { channel: 'control' as const, keyId: 1, senderId, bootId, sequence: 1 }
  return new Sender(header, { host: '10.0.0.1', port: 7171 }, 0)
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
