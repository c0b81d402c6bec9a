// The arena: blocks keep their bytes while others come and go, freed memory is zero, pages are bounded.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  Arena,
  BLOCK_HEADER_BYTES,
  type BlockCursor,
  maxArenaBytes,
  NO_PAGE,
} from '../../src/store/arena.ts'

const MAX_BYTES = 5000

function bytesOf(arena: Arena, slot: number, length: number): Buffer {
  const cursor: BlockCursor = { page: NO_PAGE, start: 0 }
  arena.seek(slot, cursor)
  const start = cursor.start + BLOCK_HEADER_BYTES
  return cursor.page.bytes.subarray(start, start + length)
}

/** Whether all bytes have this value. Two pieces that overlap are compared, which is a single call. */
function isFilled(bytes: Buffer, value: number): boolean {
  return bytes[0] === value && bytes.subarray(1).equals(bytes.subarray(0, -1))
}

test('blocks keep their bytes while others are allocated and freed', () => {
  const step = fc.oneof(
    fc.record({ size: fc.integer({ min: 1, max: MAX_BYTES }) }),
    fc.record({ free: fc.nat(40) }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200, size: 'max' }), (steps) => {
      const arena = new Arena(200, MAX_BYTES)
      const used: { slot: number; fill: number; size: number }[] = []
      let mostUsed = 0
      for (const [number, one] of steps.entries()) {
        if ('size' in one) {
          const slot = number
          arena.allocate(slot, one.size)
          const fill = (number % 255) + 1
          assert.ok(isFilled(bytesOf(arena, slot, one.size), 0))
          bytesOf(arena, slot, one.size).fill(fill)
          used.push({ slot, fill, size: one.size })
        } else {
          const [freed] = used.splice(one.free, 1)
          if (freed !== undefined) arena.free(freed.slot)
        }
        assert.equal(new Set(used.map((block) => block.slot)).size, used.length)
        for (const { slot, fill, size } of used) {
          assert.ok(isFilled(bytesOf(arena, slot, size), fill))
        }
        mostUsed = Math.max(mostUsed, used.length)
        assert.ok(arena.pageBytes <= maxArenaBytes([{ blocks: mostUsed, blockBytes: MAX_BYTES }]))
      }
    }),
    { numRuns: 100 },
  )
})

test('a freed block is zeroed, wherever its bytes came to lie', () => {
  const arena = new Arena(3, 200)
  const slots = [2, 0, 1]
  for (const slot of slots) {
    arena.allocate(slot, 150)
    bytesOf(arena, slot, 150).fill(0x5a)
  }
  const cursor: BlockCursor = { page: NO_PAGE, start: 0 }
  arena.seek(slots[0] ?? 0, cursor)
  const { bytes } = cursor.page
  const count = () => bytes.filter((byte) => byte === 0x5a).length
  assert.equal(count(), 450)
  arena.free(slots[0] ?? 0)
  assert.equal(count(), 300)
  arena.free(slots[2] ?? 0)
  arena.free(slots[1] ?? 0)
  assert.equal(count(), 0)
})

test('pages whose blocks were freed are taken again, for blocks of whatever size', () => {
  const arena = new Arena(250_000, 400)
  for (let slot = 0; slot < 250_000; slot += 1) arena.allocate(slot, 200)
  const fullBytes = arena.pageBytes
  assert.ok(fullBytes >= 250_000 * 200)
  for (let slot = 0; slot < 250_000; slot += 1) arena.free(slot)
  for (let slot = 0; slot < 100_000; slot += 1) {
    const { page, start } = arena.allocate(slot, 400)
    assert.equal(page.longs[start / 8 + 1], 0n)
  }
  assert.equal(arena.pageBytes, fullBytes)
})

test('an arena of a few slots takes a page in which all of them fit, and no larger one', () => {
  const arena = new Arena(10, 8000)
  for (let slot = 0; slot < 10; slot += 1) arena.allocate(slot, 8000)
  assert.equal(arena.pageBytes, 131_072)
})

test('a size that the arena was not made for is an error', () => {
  const arena = new Arena(1, 100)
  assert.throws(() => arena.allocate(0, 4000), RangeError)
  assert.equal(arena.isUsed(0), false)
  arena.allocate(0, 100)
  assert.equal(arena.isUsed(0), true)
})
