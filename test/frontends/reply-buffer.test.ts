// Where answers are gathered: whole, and in memory that is used again only when nobody reads it.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ReplyBuffer, ReplyMemory } from '../../src/frontends/memcached/reply-buffer.ts'

test('what was gathered is what was written, in the order of writing', () => {
  const piece = fc.oneof(
    fc.nat({ max: 2 ** 32 - 1 }),
    fc.string({ unit: 'binary-ascii', maxLength: 200 }),
    fc.uint8Array({ maxLength: 40_000 }),
  )
  const memory = new ReplyMemory()
  fc.assert(
    fc.property(fc.array(piece), fc.boolean(), (pieces, isRead) => {
      const output = new ReplyBuffer(memory)
      for (const one of pieces) {
        if (typeof one === 'number') output.number(one)
        else if (typeof one === 'string') output.text(one)
        else output.bytes(Buffer.from(one))
      }
      const expected = pieces.map((one) => Buffer.from(typeof one === 'number' ? `${one}` : one))
      assert.deepEqual(output.gathered(), Buffer.concat(expected))
      assert.equal(output.length, output.gathered().length)
      output.clear(isRead)
      assert.equal(output.length, 0)
    }),
  )
})

test('memory goes to the next one when its answers were read, and never before', () => {
  const memory = new ReplyMemory()
  const [first, second] = [new ReplyBuffer(memory), new ReplyBuffer(memory)]
  first.text('one')
  const waiting = first.gathered()
  first.clear(false)
  second.text('two')
  assert.equal(waiting.toString(), 'one')
  const read = second.gathered()
  second.clear(true)
  first.text('three')
  assert.equal(first.gathered().buffer, read.buffer)
  second.text('four')
  assert.equal(first.gathered().toString(), 'three')
})
