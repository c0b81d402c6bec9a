// The replay window against a model that simply remembers everything.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ReplayWindow, WINDOW_SIZE } from '../../src/wire/replay-window.ts'

/** The rules of the window with a set of all numbers, however many there are. */
class Model {
  readonly #arrived = new Set<number>()
  readonly #start: number
  floor: number
  highest: number

  constructor(floor: number) {
    this.#start = floor
    this.floor = floor
    this.highest = floor
  }

  accept(sequence: number): string {
    if (sequence <= this.floor) return 'old'
    if (this.#arrived.has(sequence)) return 'duplicate'
    this.#arrived.add(sequence)
    this.expect(sequence)
    return 'new'
  }

  expect(sequence: number): void {
    this.highest = Math.max(this.highest, sequence)
    this.giveUp(this.highest - WINDOW_SIZE)
  }

  giveUp(sequence: number): void {
    this.floor = Math.max(this.floor, Math.min(sequence, this.highest))
  }

  get missing(): number[] {
    return this.#unseen(this.floor + 1, this.highest)
  }

  get lost(): number {
    return this.#unseen(this.#start + 1, this.floor).length
  }

  #unseen(from: number, to: number): number[] {
    const unseen: number[] = []
    for (let sequence = from; sequence <= to; sequence += 1) {
      if (!this.#arrived.has(sequence)) unseen.push(sequence)
    }
    return unseen
  }
}

const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ do: fc.constant('near'), by: fc.integer({ min: -40, max: 40 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('edge'),
      by: fc.integer({ min: WINDOW_SIZE - 4, max: WINDOW_SIZE + 4 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('back'), by: fc.integer({ min: -4, max: 4 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('expect'), by: fc.integer({ min: -9, max: 40 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('giveUp'), by: fc.integer({ min: -40, max: 9 }) }),
  },
)

test('the window agrees with the model after every step', () => {
  fc.assert(
    fc.property(fc.nat(1000), fc.array(step, { maxLength: 60 }), (floor, steps) => {
      const window = new ReplayWindow(floor)
      const model = new Model(floor)
      for (const { do: action, by } of steps) {
        const base = action === 'back' ? model.highest - WINDOW_SIZE : model.highest
        const sequence = Math.max(1, base + by)
        if (action === 'expect') {
          window.expect(sequence)
          model.expect(sequence)
        } else if (action === 'giveUp') {
          window.giveUp(sequence)
          model.giveUp(sequence)
        } else {
          assert.equal(window.accept(sequence), model.accept(sequence), `${action} ${sequence}`)
        }
        assert.equal(window.highest, model.highest)
        assert.equal(window.missingCount, model.missing.length)
        assert.equal(window.lostCount, model.lost)
      }
      const listed = window
        .missing(Number.POSITIVE_INFINITY)
        .flatMap(({ from, to }) => Array.from({ length: to - from + 1 }, (_, n) => from + n))
      assert.deepEqual(listed, model.missing)
    }),
    { numRuns: 150 },
  )
})

test('in order, out of order, twice', () => {
  const window = new ReplayWindow()
  assert.deepEqual(
    [1, 2, 5, 4, 5, 3, 4].map((sequence) => window.accept(sequence)),
    ['new', 'new', 'new', 'new', 'duplicate', 'new', 'duplicate'],
  )
  assert.equal(window.missingCount, 0)
})

test('gaps are listed as ranges, lowest first, as many as asked for', () => {
  const window = new ReplayWindow(10)
  for (const sequence of [12, 13, 17, 20]) window.accept(sequence)
  window.expect(22)
  assert.deepEqual(window.missing(10), [
    { from: 11, to: 11 },
    { from: 14, to: 16 },
    { from: 18, to: 19 },
    { from: 21, to: 22 },
  ])
  assert.deepEqual(window.missing(1), [{ from: 11, to: 11 }])
  window.giveUp(15)
  assert.equal(window.lostCount, 3)
  assert.equal(window.accept(15), 'old')
  assert.equal(window.accept(16), 'new')
})

test('a jump over the whole window loses what it jumped over and keeps nothing of before', () => {
  const window = new ReplayWindow()
  window.accept(1)
  window.accept(10 * WINDOW_SIZE)
  assert.equal(window.missingCount, WINDOW_SIZE - 1)
  assert.equal(window.lostCount, 9 * WINDOW_SIZE - 1)
  assert.equal(window.accept(9 * WINDOW_SIZE), 'old')
  assert.equal(window.accept(9 * WINDOW_SIZE + 1), 'new')
})

test('the highest possible sequence is one like the others', () => {
  const window = new ReplayWindow(2 ** 48 - 3)
  assert.equal(window.accept(2 ** 48 - 1), 'new')
  assert.equal(window.accept(2 ** 48 - 1), 'duplicate')
  assert.equal(window.accept(2 ** 48 - 2), 'new')
})
