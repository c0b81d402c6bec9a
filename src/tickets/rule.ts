// The rule of a ring, as pure functions of the ages of its keys: which key tickets are made with, which keys are still
// to come or past, when the next key is due and who makes it. All nodes with the same keys come to the same answers, so
// there is no leader. Only ages count, never the time of day.

import { createHash } from 'node:crypto'
import type { TicketKey } from './ticket-key.ts'
import type { RingTimes } from './times.ts'

/** A key and its moments by the monotonic clock of this node. The key was made at `bornMs` as far as the node knows. */
export interface AgedKey {
  readonly key: TicketKey
  readonly bornMs: number
  /** When this node made the key or first heard of it. */
  readonly knownMs: number
  /**
   * True when the machine of this node was suspended and no node that was awake has told the age since: then the key may
   * be older than it seems, and have ended everywhere else.
   */
  readonly isDoubted?: boolean
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
  if (current === undefined) return { current, next: [], previous: [] }
  const others = youngestFirst.filter((one) => one !== current)
  const isNext = (one: AgedKey) =>
    !hasWaited(one, nowMs, times) ||
    willTakeOver(one, current, nowMs, times) ||
    isPassedOver(one, others, nowMs, times)
  const previous = others.filter((one) => !isNext(one))
  return { current, next: nextFirst(others.filter(isNext), times), previous }
}

/** The keys in the order for terminators that mint with the first one and open with all: current, next, previous. */
export function openedKeys({ current, next, previous }: RingView): AgedKey[] {
  return current === undefined ? [] : [current, ...next, ...previous]
}

/**
 * The key that tickets are made with: the youngest one that has waited and that this node has known for a while. Of
 * several made at once, the one with the lowest name; until that has waited, the key before goes on. Otherwise tickets
 * would be made for a moment with a key that a terminator with few slots gives up for the one with the lowest name.
 *
 * A key that is new to this node, as after a partition, may be new to its neighbours too: until they have had time to
 * hear of it, the node goes on with what it knew. A node that knows no key for so long takes the youngest one that has
 * waited, and while none has, the oldest one. A key that ends before a ticket made now would, as a node has after a
 * pause, is taken only when there is no other, and so is one whose age is in doubt.
 */
function mintingKey(
  youngestFirst: readonly AgedKey[],
  nowMs: number,
  times: RingTimes,
): AgedKey | undefined {
  const lasting = youngestFirst.filter(
    (one) => nowMs - one.bornMs < times.openMs - times.lifetimeMs,
  )
  const certain = lasting.filter(isCertain)
  const settledOf = (keys: readonly AgedKey[]) => keys.filter((one) => isSettled(one, nowMs, times))
  const choices = [settledOf(certain), certain, settledOf(lasting), lasting]
  const [candidates = youngestFirst] = choices.filter(({ length }) => length > 0)
  const waited = candidates.filter((one) => hasWaited(one, nowMs, times))
  const inTurn = waited.filter((one) => !isPassedOver(one, candidates, nowMs, times))
  return lowestOfFirst(inTurn, times) ?? lowestOfFirst(waited, times) ?? candidates.at(-1)
}

/** Whether a key that was made at once with this one has the lower name and has not waited yet. */
function isPassedOver(
  one: AgedKey,
  keys: readonly AgedKey[],
  nowMs: number,
  times: RingTimes,
): boolean {
  return keys.some((other) => goesFirst(other, one, times) && !hasWaited(other, nowMs, times))
}

/** Whether a key that has waited is only held back until the neighbours of this node know it. */
function willTakeOver(one: AgedKey, current: AgedKey, nowMs: number, times: RingTimes): boolean {
  if (isSettled(one, nowMs, times) || !isSettled(current, nowMs, times)) return false
  return one.bornMs > current.bornMs || !hasWaited(current, nowMs, times)
}

/**
 * Returns the key with the lowest name among those that were made at once with the first one; undefined for no keys. The
 * keys are in the order of their turns.
 */
function lowestOfFirst(inTurn: readonly AgedKey[], times: RingTimes): AgedKey | undefined {
  const [first] = inTurn
  if (first === undefined) return undefined
  const atOnce = inTurn.filter(({ bornMs }) => Math.abs(first.bornMs - bornMs) <= times.jitterMs)
  return atOnce.reduce((a, b) => (b.key.hexName < a.key.hexName ? b : a), first)
}

/** Whether another key was made at once with this one and goes first: then no ticket is made with this one. */
export function hasLostTurn(
  one: AgedKey,
  view: RingView,
  times: Pick<RingTimes, 'jitterMs'>,
): boolean {
  return openedKeys(view).some((other) => goesFirst(other, one, times))
}

/** Whether `one` was made at once with `other` and takes the turn of both. */
function goesFirst(
  one: AgedKey,
  other: AgedKey,
  { jitterMs }: Pick<RingTimes, 'jitterMs'>,
): boolean {
  return Math.abs(one.bornMs - other.bornMs) <= jitterMs && one.key.hexName < other.key.hexName
}

/** Sorts keys that are still to come, so that the one that will be minted first comes first. */
function nextFirst(next: readonly AgedKey[], times: RingTimes): AgedKey[] {
  const inTurn = [...next].reverse().sort((a, b) => turnMs(a, times) - turnMs(b, times))
  const first = lowestOfFirst(inTurn, times)
  if (first === undefined) return []
  return [first, ...inTurn.filter((one) => one !== first)]
}

/** The moment from which a key may be minted. */
export function turnMs({ bornMs, knownMs }: AgedKey, times: RingTimes): number {
  return Math.max(bornMs + times.waitMs, knownMs + times.settleMs)
}

/**
 * Whether the ring needs a new key now: it has none of a certain age, or its youngest one is older than the share of
 * this node.
 */
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
 * ring, and for one in which the age of every key is in doubt. Each node has its own share of the jitter, so that mostly
 * exactly one of them makes a key.
 */
export function keyDueMs(
  keys: readonly AgedKey[],
  times: RingTimes,
  nodeId: Uint8Array,
): number | undefined {
  const [youngest] = keys.filter(isCertain).sort(byAge)
  if (youngest === undefined) return undefined
  const share = shareOf(youngest.key.hexName, nodeId)
  return youngest.bornMs + times.rotateMs + share * times.jitterMs * MAKING_SPREAD
}

/**
 * The next monotonic moment at which the view changes by itself, or a key is to be retired or made. What is overdue
 * counts: then the moment is not after `nowMs`. Infinity for an empty ring.
 */
export function nextChangeMs(
  keys: readonly AgedKey[],
  nowMs: number,
  times: RingTimes,
  nodeId: Uint8Array,
): number {
  const turns = keys.flatMap(({ bornMs, knownMs }) => [
    bornMs + times.waitMs,
    knownMs + times.settleMs,
  ])
  const ends = keys.map(({ bornMs }) => bornMs + times.openMs)
  const noneMs = keys.length === 0 ? Number.POSITIVE_INFINITY : nowMs
  const dueMs = keyDueMs(keys, times, nodeId) ?? noneMs
  return Math.min(...turns.filter((moment) => moment > nowMs), ...ends, dueMs)
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

/** Whether the age of a key is not in doubt. */
export function isCertain({ isDoubted }: AgedKey): boolean {
  return isDoubted !== true
}

function hasWaited({ bornMs }: AgedKey, nowMs: number, times: RingTimes): boolean {
  return nowMs - bornMs >= times.waitMs
}

/** Whether the neighbours of this node have had time to hear of a key from it. */
function isSettled({ knownMs }: AgedKey, nowMs: number, times: RingTimes): boolean {
  return nowMs - knownMs >= times.settleMs
}

/** Youngest first; keys of the same age by name, so that the order is the same on every node. */
function byAge(a: AgedKey, b: AgedKey): number {
  if (a.bornMs !== b.bornMs) return b.bornMs - a.bornMs
  return a.key.hexName < b.key.hexName ? -1 : 1
}
