// The tables that strangers and bad networks could fill: fragments, held messages, challenges.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { HeldMessages } from '../../src/replication/live/inbox.ts'
import { Reassembly } from '../../src/replication/live/reassembly.ts'
import { Sender } from '../../src/replication/live/senders.ts'
import { Challenges } from '../../src/replication/peers/greeter.ts'
import type { FragmentMessage } from '../../src/wire/message.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { addressOf } from '../support/memory-cluster.ts'
import { seededBytes } from '../support/seeded-random.ts'

function sender(number: number): Sender {
  const boot = { senderId: Buffer.alloc(8, number), bootId: Buffer.alloc(8, number) }
  return new Sender(boot, addressOf(number), 0)
}

function fragments(message: Buffer, chunkBytes: number): FragmentMessage[] {
  const count = Math.ceil(message.length / chunkBytes)
  return Array.from({ length: count }, (_, index) => ({
    kind: 'fragment',
    index,
    count,
    chunk: message.subarray(index * chunkBytes, (index + 1) * chunkBytes),
  }))
}

test('fragments make a whole in any order, mixed with those of other messages and senders', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 2, max: 40 }), fc.boolean()), {
        minLength: 1,
        maxLength: 5,
      }),
      fc.infiniteStream(fc.nat()),
      (messages, order) => {
        const reassembly = new Reassembly(() => assert.fail('nothing needs to be dropped'))
        const owners = [sender(1), sender(2)]
        const expected: string[] = []
        let sequence = 1
        const arrivals = messages.flatMap(([size, isSecond], number) => {
          const message = Buffer.alloc(size, number)
          expected.push(message.toString('hex'))
          const owner = owners[isSecond ? 1 : 0] ?? sender(0)
          return fragments(message, Math.ceil(size / 2)).map((fragment) => {
            sequence += 1
            return { owner, sequence: sequence - 1, fragment, rank: order.next().value }
          })
        })
        const wholes: string[] = []
        for (const arrival of arrivals.sort((a, b) => a.rank - b.rank)) {
          const result = reassembly.add(
            arrival.owner,
            arrival.sequence - arrival.fragment.index,
            arrival.fragment,
          )
          if (Buffer.isBuffer(result)) wholes.push(result.toString('hex'))
          else assert.equal(result, 'incomplete')
        }
        assert.deepEqual(wholes.sort(), expected.sort())
        assert.deepEqual([reassembly.count, reassembly.bytes], [0, 0])
      },
    ),
  )
})

test('fragments that disagree are malformed, too many bytes too large', () => {
  const reassembly = new Reassembly(() => assert.fail())
  const owner = sender(1)
  const chunk = Buffer.alloc(40_000)
  assert.equal(reassembly.add(owner, 10, { index: 0, count: 3, chunk }), 'incomplete')
  assert.equal(reassembly.add(owner, 10, { index: 1, count: 4, chunk }), 'malformed')
  assert.equal(reassembly.add(owner, 10, { index: 0, count: 3, chunk }), 'malformed')
  assert.equal(reassembly.add(owner, 10, { index: 2, count: 3, chunk }), 'too_large')
  assert.deepEqual([reassembly.count, reassembly.bytes], [0, 0])
})

test('what never becomes whole is bounded per sender and in total, oldest first, and counted', () => {
  let dropped = 0
  const reassembly = new Reassembly((count) => {
    dropped += count
  })
  const lone = (size: number): FragmentMessage => ({
    kind: 'fragment',
    index: 0,
    count: 2,
    chunk: Buffer.alloc(size),
  })
  const greedy = sender(1)
  for (let sequence = 1; sequence <= 200; sequence += 1) {
    reassembly.add(greedy, sequence * 2, lone(60_000))
  }
  assert.ok(reassembly.bytes <= 4 * 1024 * 1024)
  assert.equal(dropped, 200 - reassembly.count)
  const rest = { kind: 'fragment', index: 1, count: 2, chunk: Buffer.alloc(1) } as const
  assert.ok(Buffer.isBuffer(reassembly.add(greedy, 400, rest)), 'the newest was dropped')

  for (let number = 2; number < 12; number += 1) {
    const owner = sender(number)
    for (let sequence = 1; sequence <= 60; sequence += 1) {
      reassembly.add(owner, sequence * 2, lone(60_000))
    }
  }
  assert.ok(reassembly.bytes <= 16 * 1024 * 1024)
  const tiny = sender(20)
  for (let sequence = 1; sequence <= 3000; sequence += 1)
    reassembly.add(tiny, sequence * 2, lone(1))
  assert.ok(reassembly.count <= 1024)
  reassembly.forget(tiny)
  assert.deepEqual([reassembly.count, reassembly.bytes], [0, 0])
})

test('held messages are given back by sender in order, and bounded by count and bytes', () => {
  const held = new HeldMessages()
  const [one, two] = [sender(1), sender(2)]
  for (let sequence = 1; sequence <= 4; sequence += 1) {
    const message = Buffer.alloc(10)
    assert.equal(held.hold({ sender: sequence % 2 === 0 ? two : one, sequence, message }), 0)
  }
  assert.deepEqual(
    held.take(one).map(({ sequence }) => sequence),
    [1, 3],
  )
  assert.deepEqual(held.take(one), [])
  assert.deepEqual([held.count, held.bytes], [2, 20])
  let dropped = 0
  for (let sequence = 5; sequence <= 5000; sequence += 1) {
    dropped += held.hold({ sender: two, sequence, message: Buffer.alloc(1) })
  }
  assert.equal(held.count, 4096)
  assert.equal(dropped, 4998 - 4096)
  assert.equal(held.bytes, 4096)
  for (let sequence = 1; sequence <= 100; sequence += 1) {
    held.hold({ sender: one, sequence, message: Buffer.alloc(65_000) })
    assert.ok(held.bytes <= 4 * 1024 * 1024)
  }
  assert.equal(held.take(two).length, 0)
  assert.equal(held.take(one).length, 64)
  assert.deepEqual([held.count, held.bytes], [0, 0])
})

const TO = { host: '10.0.0.2', port: 7171 }

test('a challenge can be answered for five seconds, several times, and its table is bounded', () => {
  const clock = new FakeClock()
  const challenges = new Challenges<string>(clock, seededBytes('challenges'))
  const first = challenges.issue('first', TO)
  clock.advance(5000)
  assert.equal(challenges.find(first)?.target, 'first')
  assert.equal(challenges.find(Buffer.from(first))?.target, 'first')
  assert.equal(challenges.find(Buffer.alloc(16)), undefined)
  clock.advance(1)
  assert.equal(challenges.find(first), undefined)
  assert.equal(challenges.count, 0)
  const many = Array.from({ length: 5000 }, (_, number) => challenges.issue(`${number}`, TO))
  assert.ok(challenges.count <= 4096)
  assert.equal(challenges.find(many.at(-1) ?? first)?.target, '4999')
  assert.equal(challenges.find(many[0] ?? first), undefined)
})
