// Frames taken out of a stream: each case whole and byte by byte, and never more held than one frame.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { FrameReader, toFrame } from '../../src/wire/framing.ts'

const MAX_BYTES = 300

/** What comes out of a reader that is fed these pieces, and whether it waits for more. */
function read(pieces: readonly Buffer[], maxBytes = MAX_BYTES) {
  const reader = new FrameReader(maxBytes)
  const frames: string[] = []
  for (const piece of pieces) {
    reader.append(piece)
    for (let frame = reader.next(); frame !== undefined; frame = reader.next()) {
      if (frame === 'malformed') return { frames, end: 'malformed' }
      frames.push(frame.toString('latin1'))
    }
  }
  return { frames, end: reader.heldBytes > 0 ? 'midway' : 'between' }
}

const everyByte = (bytes: Buffer) => Array.from(bytes, (byte) => Buffer.from([byte]))

const CASES: readonly {
  readonly name: string
  readonly bytes: Buffer
  readonly frames: readonly string[]
  readonly end: string
}[] = [
  { name: 'nothing', bytes: Buffer.alloc(0), frames: [], end: 'between' },
  { name: 'one', bytes: toFrame(Buffer.from('a')), frames: ['a'], end: 'between' },
  {
    name: 'two and a half',
    bytes: Buffer.concat([
      toFrame(Buffer.from('ab')),
      toFrame(Buffer.from('c')),
      toFrame(Buffer.from('de')).subarray(0, 5),
    ]),
    frames: ['ab', 'c'],
    end: 'midway',
  },
  { name: 'half a length', bytes: Buffer.alloc(3), frames: [], end: 'midway' },
  { name: 'a length', bytes: Buffer.from([0, 0, 0, 1]), frames: [], end: 'midway' },
  {
    name: 'the longest',
    bytes: toFrame(Buffer.alloc(MAX_BYTES, 'x')),
    frames: ['x'.repeat(MAX_BYTES)],
    end: 'between',
  },
  { name: 'an empty one', bytes: Buffer.alloc(5), frames: [], end: 'malformed' },
  {
    name: 'one too long, behind a good one',
    bytes: Buffer.concat([toFrame(Buffer.from('a')), Buffer.from([0, 0, 1, 45, 0])]),
    frames: ['a'],
    end: 'malformed',
  },
  {
    name: 'what is not ours',
    bytes: Buffer.from('GET / HTTP/1.1\r\n'),
    frames: [],
    end: 'malformed',
  },
]

for (const { name, bytes, frames, end } of CASES) {
  test(`${name}: whole and byte by byte`, () => {
    assert.deepEqual(read([bytes]), { frames, end })
    assert.deepEqual(read(everyByte(bytes)), { frames, end })
  })
}

test('frames come out as they went in, wherever the stream is cut', () => {
  const bodies = fc.array(fc.uint8Array({ minLength: 1, maxLength: MAX_BYTES }), { maxLength: 8 })
  const cuts = fc.array(fc.nat(2000), { maxLength: 12 })
  fc.assert(
    fc.property(bodies, cuts, (all, places) => {
      const bytes = Buffer.concat(all.map(toFrame))
      const ends = [...places, bytes.length]
        .map((at) => Math.min(at, bytes.length))
        .sort((a, b) => a - b)
      const pieces = ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end))
      const frames = all.map((body) => Buffer.from(body).toString('latin1'))
      assert.deepEqual(read(pieces), { frames, end: 'between' })
    }),
  )
})

test('a frame that came in pieces does not change when the pieces do', () => {
  const reader = new FrameReader(MAX_BYTES)
  const pieces = [Buffer.from([0, 0, 0, 2, 1]), Buffer.from([2])]
  for (const piece of pieces) reader.append(piece)
  const first = reader.next()
  for (const piece of pieces) piece.fill(0xff)
  assert.deepEqual(first, Buffer.from([1, 2]))
})
