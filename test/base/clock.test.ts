// The system's clock: what it makes of delays that setTimeout does not take.

import assert from 'node:assert/strict'
import { afterEach, beforeEach, mock, test } from 'node:test'
import { systemClock } from '../../src/base/world.ts'

const DAY_MS = 86_400_000
/** Above it, and below 0, setTimeout warns on standard error and waits 1 ms. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1

/** What setTimeout was called with and clearTimeout has not taken back. */
let pending: { readonly callback: () => void; readonly delayMs: number }[] = []

beforeEach(() => {
  pending = []
  mock.method(globalThis, 'setTimeout', (callback: () => void, delayMs: number) => {
    const timeout = { callback, delayMs }
    pending.push(timeout)
    return timeout
  })
  mock.method(globalThis, 'clearTimeout', (timeout: unknown) => {
    pending = pending.filter((one) => one !== timeout)
  })
})
afterEach(() => mock.reset())

/** Lets the oldest timeout end; its delay in milliseconds. */
function next(): number | undefined {
  const timeout = pending.shift()
  timeout?.callback()
  return timeout?.delayMs
}

test('no delay reaches setTimeout that it warns of', () => {
  for (const delayMs of [-3, -0.5, 0, 0.5, 1, LONGEST_TIMEOUT_MS, 30 * DAY_MS, 1e300]) {
    systemClock.after(delayMs, () => {})
  }
  const longest = LONGEST_TIMEOUT_MS
  assert.deepEqual(
    pending.map(({ delayMs }) => delayMs),
    [0, 0, 0, 0.5, 1, longest, longest, longest],
  )
})

test('a delay that is past runs in the next turn, and can be cancelled until then', () => {
  const ran: string[] = []
  systemClock.after(-5, () => ran.push('kept'))
  systemClock.after(-5, () => ran.push('cancelled')).cancel()
  assert.deepEqual(ran, [])
  assert.equal(next(), 0)
  assert.equal(next(), undefined)
  assert.deepEqual(ran, ['kept'])
})

test('a delay of 80 days ends after 80 days', () => {
  let runs = 0
  systemClock.after(80 * DAY_MS, () => {
    runs += 1
  })
  let passedMs = 0
  while (runs === 0) passedMs += next() ?? assert.fail('nothing is pending any more')
  assert.equal(passedMs, 80 * DAY_MS)
  assert.deepEqual(pending, [])
})

test('a delay of 80 days can be cancelled on its way', () => {
  const timer = systemClock.after(80 * DAY_MS, () => {})
  for (let passed = 0; passed < 3; passed += 1) next()
  assert.equal(pending.length, 1)
  timer.cancel()
  assert.deepEqual(pending, [])
})
