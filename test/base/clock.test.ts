// The system's clock: what it makes of delays that setTimeout does not take.

import assert from 'node:assert/strict'
import { afterEach, beforeEach, mock, test } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'

const DAY_MS = 86_400_000
/** Above it, and below 0, setTimeout warns on standard error and waits 1 ms. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1

beforeEach(() => mock.timers.enable({ apis: ['setTimeout'] }))
afterEach(() => mock.reset())

test('no delay reaches setTimeout that it warns of', () => {
  const timeout = mock.method(globalThis, 'setTimeout')
  for (const delayMs of [-3, -0.5, 0, 0.5, 1, LONGEST_TIMEOUT_MS, 30 * DAY_MS, 1e300]) {
    systemClock.after(delayMs, () => {}).cancel()
  }
  const delaysMs = timeout.mock.calls.map(({ arguments: args }) => args[1])
  const longest = LONGEST_TIMEOUT_MS
  assert.deepEqual(delaysMs, [0, 0, 0, 0.5, 1, longest, longest, longest])
})

test('a delay that is past runs in the next turn, and can be cancelled until then', () => {
  const ran: string[] = []
  systemClock.after(-5, () => ran.push('kept'))
  systemClock.after(-5, () => ran.push('cancelled')).cancel()
  assert.deepEqual(ran, [])
  mock.timers.tick(1)
  assert.deepEqual(ran, ['kept'])
})

test('a delay of 80 days ends after 80 days', () => {
  let runs = 0
  systemClock.after(80 * DAY_MS, () => {
    runs += 1
  })
  for (let passed = 0; passed < 3; passed += 1) mock.timers.tick(LONGEST_TIMEOUT_MS)
  const leftMs = 80 * DAY_MS - 3 * LONGEST_TIMEOUT_MS
  mock.timers.tick(leftMs - 1)
  assert.equal(runs, 0)
  mock.timers.tick(1)
  assert.equal(runs, 1)
  mock.timers.tick(100 * DAY_MS)
  assert.equal(runs, 1)
})

test('a delay of 80 days can be cancelled on its way', () => {
  let runs = 0
  const timer = systemClock.after(80 * DAY_MS, () => {
    runs += 1
  })
  mock.timers.tick(60 * DAY_MS)
  timer.cancel()
  mock.timers.tick(60 * DAY_MS)
  assert.equal(runs, 0)
})
