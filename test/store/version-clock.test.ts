// The clock of versions goes on by itself where a wall clock or a peer is too far ahead.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MAX_VERSION_CLOCK, VersionClock } from '../../src/store/versions.ts'
import { FakeClock } from '../support/fake-clock.ts'

const YEAR_MS = 31_557_600_000

test('what it gives is above what it saw, and follows the wall clock', () => {
  const clock = new FakeClock()
  const versions = new VersionClock(clock)
  const first = versions.next()
  assert.ok(versions.next() > first)
  versions.observe(first + 1_000_000)
  assert.ok(versions.next() > first + 1_000_000)
  clock.advance(YEAR_MS)
  assert.ok(versions.next() > first + YEAR_MS)
})

test('the wall clock is read once a millisecond', () => {
  let readings = 0
  class CountedClock extends FakeClock {
    override wallMs(): number {
      readings += 1
      return super.wallMs()
    }
  }
  const clock = new CountedClock()
  const versions = new VersionClock(clock)
  const first = versions.next()
  assert.deepEqual([versions.next(), versions.next()], [first + 1, first + 2])
  assert.equal(readings, 1)
  clock.advance(1)
  assert.ok(versions.next() > first + 3)
  assert.equal(readings, 2)
})

test('no wall clock and no peer makes it give what no peer takes', () => {
  const clock = new FakeClock()
  const versions = new VersionClock(clock)
  const first = versions.next()
  versions.observe(MAX_VERSION_CLOCK)
  clock.advance(40 * YEAR_MS)
  const later = [versions.next(), versions.next()]
  assert.deepEqual(later, [first + 1, first + 2])
  assert.ok(first + 2 < MAX_VERSION_CLOCK)
})
