// What looking for expired slots costs: not once more for each that has not expired.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BUCKET_MS, Expiry } from '../../src/store/expiry.ts'

const SLOTS = 1000
const START_MS = 40 * BUCKET_MS

/** All slots in the bucket that begins at START_MS, one after the other. */
function setUp() {
  const due = Array.from({ length: SLOTS }, (_, slot) => START_MS + 10 + slot / 100)
  const counts = { looks: 0 }
  const expiry = new Expiry(SLOTS, 60_000, 0, (slot) => {
    counts.looks += 1
    return due[slot] ?? 0
  })
  for (let slot = 0; slot < SLOTS; slot += 1) expiry.add(slot)
  counts.looks = 0
  return { expiry, due, counts }
}

test('a bucket in which nothing has expired is looked through once', () => {
  const { expiry, counts } = setUp()
  for (let look = 0; look < 100; look += 1) {
    assert.equal(expiry.nextExpired(START_MS + 1 + look / 100, true), undefined)
  }
  assert.equal(counts.looks, SLOTS)
})

test('what expires first is found first, and what came later is found in time', () => {
  const { expiry, due, counts } = setUp()
  assert.equal(expiry.nextExpired(START_MS + 1, true), undefined)
  expiry.delete(7)
  due[7] = START_MS + 2
  expiry.add(7)
  assert.equal(expiry.nextExpired(START_MS + 2, true), 7)
  expiry.delete(7)
  counts.looks = 0
  for (const slot of [0, 1, 2]) {
    assert.equal(expiry.nextExpired(START_MS + 10 + slot / 100, true), slot)
    expiry.delete(slot)
  }
  assert.ok(counts.looks < 20, `${counts.looks} looks`)
})

test('without looking into the bucket of now, all are found when it is over', () => {
  const { expiry } = setUp()
  assert.equal(expiry.nextExpired(START_MS + BUCKET_MS - 1), undefined)
  const found: number[] = []
  const nowMs = START_MS + BUCKET_MS
  for (let slot = expiry.nextExpired(nowMs); slot !== undefined; slot = expiry.nextExpired(nowMs)) {
    found.push(slot)
    expiry.delete(slot)
  }
  assert.equal(found.length, SLOTS)
})
