// Mutations of real sessions: the reader returns a session within the bounds of the bytes, or throws its own error.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { codeOf } from '../../src/base/errors.ts'
import { type EncodedSession, readEncodedSession } from '../../src/session/encoded-session.ts'
import { Dice } from '../support/dice.ts'
import { readSessionVectors } from '../support/session-vectors.ts'

const ROUNDS = 100_000
const SEED = 0x5e_55_10_2b
/** Bytes that mean something in BER: tags, lengths, end marks. */
const SIGNIFICANT = [
  0x00, 0x02, 0x04, 0x10, 0x1f, 0x24, 0x30, 0x3f, 0x7f, 0x80, 0x81, 0x84, 0xa4, 0xff,
]

function mutate(bytes: Buffer, dice: Dice): Buffer {
  // Every second mutation is in the first bytes, which have most of the tags and lengths.
  const isAtHead = dice.below(2) === 0
  const at = isAtHead ? dice.below(Math.min(20, bytes.length)) : dice.below(bytes.length)
  const copy = Buffer.from(bytes)
  switch (dice.below(5)) {
    case 0:
      copy[at] = dice.below(256)
      return copy
    case 1:
      copy[at] = SIGNIFICANT[dice.below(SIGNIFICANT.length)] ?? 0
      return copy
    case 2:
      return Buffer.concat([copy.subarray(0, at), copy.subarray(at + 1 + dice.below(8))])
    case 3: {
      const from = dice.below(bytes.length)
      const piece = copy.subarray(from, from + dice.below(16))
      return Buffer.concat([copy.subarray(0, at), piece, copy.subarray(at)])
    }
    default:
      return copy.subarray(0, at + 1)
  }
}

function assertWithinBounds(session: EncodedSession, bytes: Uint8Array): void {
  assert.ok(session.id.length <= 32)
  assert.ok(session.context.length <= 32)
  assert.ok(session.serverName.length <= bytes.length)
  assert.ok((session.alpn ?? '').length <= bytes.length)
  for (const value of [session.timeSec, session.timeoutSec, session.maxEarlyData]) {
    assert.ok(value === undefined || Number.isSafeInteger(value))
  }
}

test(`${ROUNDS} mutated sessions`, () => {
  const dice = new Dice(SEED)
  const vectors = readSessionVectors()
  let readable = 0
  for (let round = 0; round < ROUNDS; round += 1) {
    let bytes = vectors[dice.below(vectors.length)]?.bytes ?? Buffer.alloc(1)
    for (let left = 1 + dice.below(4); left > 0 && bytes.length > 0; left -= 1) {
      bytes = mutate(bytes, dice)
    }
    try {
      assertWithinBounds(readEncodedSession(bytes), bytes)
      readable += 1
    } catch (error) {
      if (codeOf(error) !== 'ERR_SESSION_FORMAT') throw error
    }
  }
  // Otherwise the mutations would be too strong or too weak to test the reader.
  assert.ok(readable > ROUNDS / 20 && readable < ROUNDS / 2, `${readable} were readable`)
})
