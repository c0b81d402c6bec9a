// The frames of summaries: frozen bytes, bounds, and what a node of an earlier version makes of them.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import {
  decodeSyncFrame,
  encodeSyncFrame,
  MAX_FRAME_BYTES,
  MAX_SUMMARY_BYTES,
} from '../../src/wire/sync-message.ts'

const FILE = new URL('../vectors/sync-summary.json', import.meta.url)
const { vectors }: { vectors: readonly { name: string; frame: string; decoded: Vector }[] } =
  JSON.parse(readFileSync(FILE, 'utf8'))

type Vector =
  | { readonly kind: 'summary_request' }
  | { readonly kind: 'summary'; readonly document: string }

function frameOf(decoded: Vector) {
  if (decoded.kind === 'summary_request') return decoded
  return { kind: decoded.kind, document: Buffer.from(decoded.document) }
}

describe('frozen bytes', () => {
  for (const { name, frame, decoded } of vectors) {
    test(name, () => {
      assert.deepEqual(decodeSyncFrame(Buffer.from(frame, 'hex')), frameOf(decoded))
      assert.equal(encodeSyncFrame(frameOf(decoded)).toString('hex'), frame)
    })
  }
})

test('a summary has its bounds, and the largest one fits into a frame', () => {
  const frameWith = (bytes: number) =>
    encodeSyncFrame({ kind: 'summary', document: Buffer.alloc(bytes, ' ') })
  const largest = frameWith(MAX_SUMMARY_BYTES)
  assert.ok(largest.length <= MAX_FRAME_BYTES)
  assert.equal(decodeSyncFrame(largest)?.kind, 'summary')
  for (const bytes of [0, 1, MAX_SUMMARY_BYTES + 1]) {
    assert.equal(decodeSyncFrame(frameWith(bytes)), undefined)
  }
})

test('fields of another wire type make a frame malformed', () => {
  // Field 11 and field 12 as numbers; field 1 of the summary as a number.
  for (const hex of ['5801', '6001', '62020801']) {
    assert.equal(decodeSyncFrame(Buffer.from(hex, 'hex')), undefined)
  }
})
