// Where answers are gathered: whole, one behind the other, in memory that does not stay large.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ReplyBuffer } from '../../src/frontends/memcached/fast/reply-buffer.ts'
import { createCacheFixture } from '../support/cache-fixture.ts'

function written(output: ReplyBuffer): Buffer {
  return Buffer.from(output.memory.subarray(0, output.length))
}

test('what was gathered is what was written, in the order of writing', () => {
  const { hooks } = createCacheFixture({ blocksize: 65_536 })
  const id = Buffer.from('id')
  const piece = fc.oneof(
    fc.nat({ max: 2 ** 32 - 1 }),
    fc.string({ unit: 'binary-ascii', maxLength: 200 }),
    fc.uint8Array({ maxLength: 40_000 }),
    fc.record({ session: fc.uint8Array({ minLength: 1, maxLength: 2000 }) }),
  )
  const output = new ReplyBuffer()
  fc.assert(
    fc.property(fc.array(piece), (pieces) => {
      for (const one of pieces) {
        if (typeof one === 'number') output.number(one)
        else if (typeof one === 'string') output.text(one)
        else if (one instanceof Uint8Array) output.bytes(Buffer.from(one))
        else {
          hooks.putOwn(id, one.session)
          const found = hooks.getAny(id)
          assert.ok(found !== undefined)
          output.session(found)
        }
      }
      const expected = pieces.map((one) => {
        if (typeof one === 'number') return Buffer.from(`${one}`)
        if (typeof one === 'string') return Buffer.from(one)
        return Buffer.from(one instanceof Uint8Array ? one : one.session)
      })
      assert.deepEqual(written(output), Buffer.concat(expected))
      output.truncate(0)
      assert.equal(output.length, 0)
    }),
  )
})

test('a session that holds for ever is written as one in the store is', () => {
  const { hooks } = createCacheFixture()
  const session = Buffer.from('a session of 25 bytes too')
  hooks.putOwn(Buffer.from('id'), session)
  const found = hooks.getAny(Buffer.from('id'))
  assert.ok(found !== undefined)
  const output = new ReplyBuffer()
  output.session(found.detached())
  output.session(found.detached(Buffer.from('other bytes')))
  output.text('!')
  assert.equal(written(output).toString(), `${session}other bytes!`)
  assert.deepEqual(found.detached().version, found.version)
})

test('an answer of one session is whole, and leaves alone what was written before', () => {
  const { hooks } = createCacheFixture({ blocksize: 65_536 })
  const id = Buffer.from('id')
  const output = new ReplyBuffer()
  const wordBytes = 4
  const keyMemory = Buffer.alloc(250 + wordBytes)
  const keyView = new DataView(keyMemory.buffer, keyMemory.byteOffset, keyMemory.length)
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary-ascii', maxLength: 20 }),
      fc.string({ unit: 'binary-ascii', minLength: 1, maxLength: 250 }),
      fc.nat({ max: 2 ** 32 - 1 }),
      fc.uint8Array({ minLength: 1, maxLength: 1200 }),
      (before, key, flags, session) => {
        hooks.putOwn(id, session)
        const value = hooks.getAny(id)
        assert.ok(value !== undefined)
        output.text(before)
        keyMemory.write(key, 'latin1')
        const start = output.onlyValue(keyView, 0, key.length, { flags, value })
        const answer = `VALUE ${key} ${flags} ${session.length}\r\n`
        const expected = Buffer.concat([Buffer.from(answer), session, Buffer.from('\r\nEND\r\n')])
        assert.deepEqual(output.memory.subarray(start, output.length), expected)
        assert.equal(output.memory.toString('latin1', 0, before.length), before)
        output.truncate(0)
      },
    ),
  )
})

test('a reply that is taken back is overwritten, and those before it stay', () => {
  const output = new ReplyBuffer()
  output.text('first ')
  const start = output.length
  output.bytes(Buffer.alloc(200_000, 'x'))
  output.truncate(start)
  output.text('second')
  assert.equal(written(output).toString(), 'first second')
})

test('memory that one large answer took is given back', () => {
  const output = new ReplyBuffer()
  const usualBytes = output.memory.length
  output.bytes(Buffer.alloc(4 * usualBytes, 'x'))
  assert.ok(output.memory.length > usualBytes)
  output.truncate(0)
  assert.equal(output.memory.length, usualBytes)
})
