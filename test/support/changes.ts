// Changes for property tests, and to compare: whatever kind of byte array their fields are, here they are Buffers.

import fc from 'fast-check'
import { asBuffer } from '../../src/base/bytes.ts'
import { MAX_CONTEXT_BYTES, MAX_KEYSIZE, MAX_TIMEOUT_MS } from '../../src/store/limits.ts'
import { type Change, MAX_PUT_CLOCK } from '../../src/store/versions.ts'
import { MAX_ORIGIN } from '../../src/wire/identity.ts'

const MAX_SESSION_BYTES = 300

/** Many of them of `ownOrigin`, and many under the same context. */
export function anyChange(
  ownOrigin: number,
  serverName: fc.Arbitrary<string>,
): fc.Arbitrary<Change> {
  const entry = {
    cache: fc.constantFrom('ssl', 'a', 'Other.cache-1_x'),
    id: anyBytes(1, MAX_KEYSIZE),
    ttlMs: fc.integer({ min: 1, max: MAX_TIMEOUT_MS }),
    version: fc.record(
      {
        clock: fc.integer({ min: 1, max: MAX_PUT_CLOCK }),
        origin: fc.oneof(fc.constant(ownOrigin), fc.integer({ min: 0, max: MAX_ORIGIN })),
      },
      { noNullPrototype: true },
    ),
  }
  const put = fc.record({
    kind: fc.constant('put' as const),
    ...entry,
    context: fc.oneof(fc.constant(Buffer.from('shop')), anyBytes(0, MAX_CONTEXT_BYTES)),
    serverName,
    session: anyBytes(1, MAX_SESSION_BYTES),
  })
  const remove = fc.record({ kind: fc.constant('remove' as const), ...entry })
  return fc.oneof(put, remove)
}

export function anyBytes(minLength: number, maxLength: number): fc.Arbitrary<Buffer> {
  return fc.uint8Array({ minLength, maxLength }).map((array) => Buffer.from(array))
}

export function withBuffers(change: Change): Change {
  const id = asBuffer(change.id)
  if (change.kind === 'remove') return { ...change, id }
  return { ...change, id, context: asBuffer(change.context), session: asBuffer(change.session) }
}

/** Returns the changes in the order of the general decoder: puts first, then removals. */
export function putsFirst(changes: readonly Change[]): Change[] {
  const ofKind = (kind: Change['kind']) => changes.filter((change) => change.kind === kind)
  return [...ofKind('put'), ...ofKind('remove')].map(withBuffers)
}
