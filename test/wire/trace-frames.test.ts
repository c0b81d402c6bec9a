// The frames of traces: frozen bytes and bounds.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { decodeSyncFrame, encodeSyncFrame } from '../../src/wire/sync-message.ts'

const FILE = new URL('../vectors/sync-trace.json', import.meta.url)
const { vectors }: { vectors: readonly { name: string; frame: string; decoded: Vector }[] } =
  JSON.parse(readFileSync(FILE, 'utf8'))

type Vector =
  | { readonly kind: 'trace_request'; readonly id: string; readonly followMs: number }
  | { readonly kind: 'trace'; readonly document: string }

function frameOf(decoded: Vector) {
  if (decoded.kind === 'trace')
    return { kind: decoded.kind, document: Buffer.from(decoded.document) }
  return { ...decoded, id: Buffer.from(decoded.id, 'hex') }
}

for (const { name, frame, decoded } of vectors) {
  test(`frozen bytes: ${name}`, () => {
    assert.deepEqual(decodeSyncFrame(Buffer.from(frame, 'hex')), frameOf(decoded))
    assert.equal(encodeSyncFrame(frameOf(decoded)).toString('hex'), frame)
  })
}

test('an ID of 1..255 bytes and a minute at most', () => {
  const decodes = (bytes: number, followMs: number) => {
    const frame = { kind: 'trace_request', id: Buffer.alloc(bytes, 1), followMs } as const
    return decodeSyncFrame(encodeSyncFrame(frame)) !== undefined
  }
  assert.ok(decodes(1, 0))
  assert.ok(decodes(255, 60_000))
  assert.ok(!decodes(0, 0))
  assert.ok(!decodes(256, 0))
  assert.ok(!decodes(4, 60_001))
})
