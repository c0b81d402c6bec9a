// Changes to compare: whatever kind of byte array their fields are, here they are Buffers.

import { asBuffer } from '../../src/base/bytes.ts'
import type { Change } from '../../src/store/change.ts'

export function withBuffers(change: Change): Change {
  const id = asBuffer(change.id)
  if (change.kind === 'remove') return { ...change, id }
  return { ...change, id, context: asBuffer(change.context), session: asBuffer(change.session) }
}

/** As the general decoder has them. */
export function putsFirst(changes: readonly Change[]): Change[] {
  const ofKind = (kind: Change['kind']) => changes.filter((change) => change.kind === kind)
  return [...ofKind('put'), ...ofKind('remove')].map(withBuffers)
}
