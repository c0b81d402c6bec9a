// What a node accepts of the ring that a peer offers. A key is refused, with a reason that is counted, when it is zero,
// repeated, renamed, over age, retired or one too many. Nothing that this node holds is lost to a bad offer.

import { timingSafeEqual } from 'node:crypto'
import { MAX_RING_KEYS, type OfferedKey } from '../wire/ring-message.ts'
import type { AgedKey } from './rule.ts'
import { isZero } from './ticket-key.ts'

/** Why an offered key was not accepted; `retired` is harmless, the others are faults of the peer. */
export const REFUSALS = {
  flood: 'more keys or names than a ring has room for',
  zero: 'the name, or a part of the secret, was never filled in',
  repeated: 'a key twice in one offer',
  renamed: 'a known name with other bytes, or known bytes under another name',
  over_age: 'a key that is too old to open tickets',
  retired: 'a key that this node has retired; no fault of the peer',
}
export type Refusal = keyof typeof REFUSALS

/** What to do with an offered key: keep it, take its age for the one that is held, or refuse it. */
export type Verdict = 'new' | 'known' | Refusal

/** What a node holds, as far as the judgement of an offer depends on it. */
export interface Holdings {
  readonly keys: readonly AgedKey[]
  readonly openMs: number
  isRetired(hexName: string): boolean
}

/**
 * Judges the keys of an offer in order, each with those before it accepted. Returns undefined for an offer with more
 * keys than a ring can have: none of it is used.
 */
export function judgeKeys(
  offered: readonly OfferedKey[],
  holdings: Holdings,
): Verdict[] | undefined {
  if (offered.length > MAX_RING_KEYS) return undefined
  const seenNames = new Set<string>()
  const accepted: OfferedKey[] = []
  return offered.map((one) => {
    const hexName = one.name.toString('hex')
    const isRepeated = seenNames.has(hexName)
    seenNames.add(hexName)
    const verdict = isRepeated ? 'repeated' : judgeKey(one, hexName, holdings, accepted)
    if (verdict === 'new') accepted.push(one)
    return verdict
  })
}

function judgeKey(
  one: OfferedKey,
  hexName: string,
  { keys, openMs, isRetired }: Holdings,
  accepted: readonly OfferedKey[],
): Verdict {
  if (isUnfilled(one)) return 'zero'
  if (isRetired(hexName)) return 'retired'
  const held = keys.find(({ key }) => key.hexName === hexName)
  if (held !== undefined && !timingSafeEqual(held.key.secret, one.secret)) return 'renamed'
  if (one.ageMs >= openMs) return 'over_age'
  if (held !== undefined) return 'known'
  const isUnderOtherName =
    keys.some(({ key }) => timingSafeEqual(key.secret, one.secret)) ||
    accepted.some(({ secret }) => timingSafeEqual(secret, one.secret))
  if (isUnderOtherName) return 'renamed'
  return keys.length + accepted.length >= MAX_RING_KEYS ? 'flood' : 'new'
}

/** Whether the name, or a part that some terminator would use as a whole key, was never filled in. */
function isUnfilled({ name, secret }: OfferedKey): boolean {
  return isZero(name) || isZero(secret.subarray(0, 16)) || isZero(secret.subarray(32, 48))
}
