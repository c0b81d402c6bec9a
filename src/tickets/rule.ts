// The rule of a ring, as pure functions of the ages of its keys: which key tickets are made with, which keys are still
// to come or past, when the next key is due and who makes it. All nodes with the same keys come to the same answers, so
// there is no leader. Only ages count, never the time of day.

import { createHash } from 'node:crypto'
import type { TicketKey } from './ticket-key.ts'
import type { RingTimes } from './times.ts'

/** A key, and when it was made by the monotonic clock of this node, as far as this node knows. */
export interface AgedKey {
  readonly key: TicketKey
  readonly bornMs: number
}

/** The keys of a ring by what they are used for. None of the lists has a key of another. */
export interface RingView {
  /** The key that tickets are made with; undefined only while the ring is empty. */
  readonly current: AgedKey | undefined
  /** Keys that are opened already and will be minted later, the first one of them first. */
  readonly next: readonly AgedKey[]
  /** Keys that are opened and no longer minted, the youngest first. */
  readonly previous: readonly AgedKey[]
}

/** Part of the jitter over which the nodes spread the making of a key; the rest is for the key to travel. */
const MAKING_SPREAD = 0.8

/** Sorts the keys by use. The ages do not have to be sorted. */
export function viewOf(keys: readonly AgedKey[], nowMs: number, times: RingTimes): RingView {
  const youngestFirst = [...keys].sort(byAge)
  const current = mintingKey(youngestFirst, nowMs, times)
  const others = youngestFirst.filter((one) => one !== current)
  const next = others.filter((one) => !hasWaited(one, nowMs, times))
  const previous = others.filter((one) => hasWaited(one, nowMs, times))
  return { current, next: nextFirst(next, times), previous }
}

/** The keys in the order for terminators that mint with the first one and open with all: current, next, previous. */
export function openedKeys({ current, next, previous }: RingView): AgedKey[] {
  return current === undefined ? [] : [current, ...next, ...previous]
}

/**
 * The key that tickets are made with: the youngest one that has waited long enough. Of several made at once, the one
 * with the lowest name. While no key has waited, the oldest one.
 */
function mintingKey(
  youngestFirst: readonly AgedKey[],
  nowMs: number,
  times: RingTimes,
): AgedKey | undefined {
  const waited = youngestFirst.filter((one) => hasWaited(one, nowMs, times))
  return waited.length > 0 ? lowestOfFirst(waited, times) : youngestFirst.at(-1)
}

/** Of keys sorted by age, the one with the lowest name among those made at once with the first one. */
function lowestOfFirst(sorted: readonly AgedKey[], times: RingTimes): AgedKey | undefined {
  const [first] = sorted
  if (first === undefined) return undefined
  const atOnce = sorted.filter(({ bornMs }) => Math.abs(first.bornMs - bornMs) <= times.jitterMs)
  return atOnce.reduce((a, b) => (b.key.hexName < a.key.hexName ? b : a), first)
}

/** Sorts keys that are still to come, so that the one that will be minted first comes first. */
function nextFirst(youngestFirst: readonly AgedKey[], times: RingTimes): AgedKey[] {
  const oldestFirst = [...youngestFirst].reverse()
  const first = lowestOfFirst(oldestFirst, times)
  if (first === undefined) return []
  return [first, ...oldestFirst.filter((one) => one !== first)]
}

/** Whether the ring needs a new key now: it is empty, or its youngest key is older than the share of this node. */
export function isKeyDue(
  keys: readonly AgedKey[],
  nowMs: number,
  times: RingTimes,
  nodeId: Uint8Array,
): boolean {
  const dueMs = keyDueMs(keys, times, nodeId)
  return dueMs === undefined || nowMs >= dueMs
}

/**
 * The monotonic moment at which this node makes the next key unless it hears of another node's; undefined for an empty
 * ring. Each node has its own share of the jitter, so that mostly exactly one of them makes a key.
 */
export function keyDueMs(
  keys: readonly AgedKey[],
  times: RingTimes,
  nodeId: Uint8Array,
): number | undefined {
  const [youngest] = [...keys].sort(byAge)
  if (youngest === undefined) return undefined
  const share = shareOf(youngest.key.hexName, nodeId)
  return youngest.bornMs + times.rotateMs + share * times.jitterMs * MAKING_SPREAD
}

/** The next monotonic moment after `nowMs` at which the view changes by itself or a key is retired or due. */
export function nextChangeMs(
  keys: readonly AgedKey[],
  nowMs: number,
  times: RingTimes,
  nodeId: Uint8Array,
): number {
  const moments = keys.flatMap(({ bornMs }) => [bornMs + times.waitMs, bornMs + times.openMs])
  const dueMs = keyDueMs(keys, times, nodeId)
  if (dueMs !== undefined) moments.push(dueMs)
  return Math.min(...moments.filter((moment) => moment > nowMs))
}

/** A number 0 <= n < 1 that only depends on the key and the node. */
function shareOf(hexName: string, nodeId: Uint8Array): number {
  const digest = createHash('sha256')
    .update('tlscached ticket turn')
    .update(hexName)
    .update(nodeId)
    .digest()
  return digest.readUInt32BE(0) / 2 ** 32
}

function hasWaited({ bornMs }: AgedKey, nowMs: number, times: RingTimes): boolean {
  return nowMs - bornMs >= times.waitMs
}

/** Youngest first; keys of the same age by name, so that the order is the same on every node. */
function byAge(a: AgedKey, b: AgedKey): number {
  if (a.bornMs !== b.bornMs) return b.bornMs - a.bornMs
  return a.key.hexName < b.key.hexName ? -1 : 1
}
