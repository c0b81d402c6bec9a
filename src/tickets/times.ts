// The times of a ring: what an operator sets, what follows from it, and which settings contradict each other or the
// terminators that take the keys.

import { formatDurationMs } from '../base/bytes.ts'

const DAY_MS = 86_400_000
export const SHORTEST_ROTATE_MS = 10_000
/** RFC 8446, section 4.6.1: no ticket lives longer than seven days. */
export const LONGEST_TICKET_MS = 7 * DAY_MS
/** Time in which a key that one node made is known on every node that it reaches: one greeting and one call. */
export const SPREAD_MS = 4000
/** Time for neighbours to hear of a key; so much above SPREAD_MS because greetings may be lost. */
const LONGEST_SETTLE_MS = 60_000
/** Longest age that a message can say, 49.7 days. */
const LONGEST_MEMORY_MS = 2 ** 32 - 1
/** A group whose terminators hold any number of keys still makes no more than this many keys per lifetime. */
const MOST_PLANNED_KEYS = 8

/** The settings of one group of terminators that accept each other's tickets. */
export interface TicketGroupSettings {
  readonly name: string
  /** Time between two new keys, 10 s to 7 d. */
  readonly rotateMs: number
  /** Time for which a ticket is accepted after it was made, 1 s to 7 d. */
  readonly lifetimeMs: number
  /** Time for which a new key is only known before tickets are made with it; at most `rotateMs`. */
  readonly waitMs: number
}

/** What a kind of terminator asks of the times of its ring. */
export interface TerminatorLimits {
  /** The kind, for messages. */
  readonly kind: string
  /** Longest time between two reads of its keys; 0 when it is given them. */
  readonly pollMs: number
  /** Most keys that it holds. With 1 each rotation ends all tickets, and no lifetime is checked. */
  readonly keysHeld: number
}

/** The times by which a ring is run, all in milliseconds. */
export interface RingTimes {
  readonly rotateMs: number
  readonly waitMs: number
  readonly lifetimeMs: number
  /** Keys whose ages differ by no more than this were made at once by nodes that did not hear of each other. */
  readonly jitterMs: number
  /** A key that is new to this node is not minted for this long, so that its neighbours hear of it first. */
  readonly settleMs: number
  /** A key opens tickets until it is this old; then it is retired. */
  readonly openMs: number
  /** The name of a retired key is remembered for this long. */
  readonly rememberMs: number
}

/** A setting that cannot work, with its limit. */
export interface TimeProblem {
  readonly setting: 'lifetime' | 'wait'
  readonly message: string
}

/** Returns the times of a ring, in whose settings `findTimeProblem` finds nothing. */
export function ringTimes(
  settings: TicketGroupSettings,
  terminators: readonly TerminatorLimits[],
): RingTimes {
  const { rotateMs, waitMs, lifetimeMs } = settings
  const jitterMs = rotateMs / 10
  const { pollMs } = slowestOf(terminators)
  const settleMs = Math.min(waitMs / 2, LONGEST_SETTLE_MS + pollMs)
  const lateMs = settleMs + 2 * (pollMs + SPREAD_MS)
  // A key is minted until its successor has waited, that is until it is `rotate + 0.8 jitter + wait` old, and by late
  // nodes and terminators a little longer. The last ticket then lives for `lifetime`.
  const openMs = waitMs + rotateMs + 2 * jitterMs + lifetimeMs + lateMs
  const rememberMs = Math.min(3 * openMs, LONGEST_MEMORY_MS)
  return { rotateMs, waitMs, lifetimeMs, jitterMs, settleMs, openMs, rememberMs }
}

/** Returns the setting that contradicts the others or these terminators; each is within its own bounds. */
export function findTimeProblem(
  settings: TicketGroupSettings,
  terminators: readonly TerminatorLimits[],
): TimeProblem | undefined {
  const { rotateMs, waitMs } = settings
  const waitProblem = findWaitProblem(waitMs, rotateMs, terminators)
  if (waitProblem !== undefined) return { setting: 'wait', message: waitProblem }
  const message = findLifetimeProblem(settings, terminators)
  return message === undefined ? undefined : { setting: 'lifetime', message }
}

function findWaitProblem(
  waitMs: number,
  rotateMs: number,
  terminators: readonly TerminatorLimits[],
): string | undefined {
  const slowest = slowestOf(terminators)
  const shortestMs = 2 * Math.max(slowest.pollMs, SPREAD_MS)
  if (waitMs < shortestMs) {
    const reader =
      slowest.pollMs > SPREAD_MS
        ? `${slowest.kind} reads its keys every ${formatDurationMs(slowest.pollMs)}`
        : `a key reaches all nodes within ${formatDurationMs(SPREAD_MS)}`
    return `must be at least ${formatDurationMs(shortestMs)}, since ${reader}, not ${formatDurationMs(waitMs)}`
  }
  if (waitMs <= rotateMs) return undefined
  return `must not be longer than rotate (${formatDurationMs(rotateMs)}), not ${formatDurationMs(waitMs)}`
}

function findLifetimeProblem(
  { rotateMs, lifetimeMs, waitMs }: TicketGroupSettings,
  terminators: readonly TerminatorLimits[],
): string | undefined {
  const several = terminators.filter(({ keysHeld }) => keysHeld > 1)
  const first: TerminatorLimits = { kind: 'a ring', pollMs: 0, keysHeld: MOST_PLANNED_KEYS }
  const tightest = several.reduce((a, b) => (b.keysHeld < a.keysHeld ? b : a), first)
  // The terminator drops a key when `keysHeld` younger ones exist, and mints with it until one of them has waited.
  const longestMs = (tightest.keysHeld - 1) * rotateMs - waitMs
  if (lifetimeMs <= longestMs) return undefined
  const { kind, keysHeld } = tightest
  return (
    `must not be longer than ${formatDurationMs(longestMs)}, not ${formatDurationMs(lifetimeMs)}: ${kind} holds ${keysHeld} keys, ` +
    `and a key is dropped ${keysHeld - 1} times rotate minus wait after its last ticket`
  )
}

function slowestOf(terminators: readonly TerminatorLimits[]): TerminatorLimits {
  const none: TerminatorLimits = { kind: 'none', pollMs: 0, keysHeld: MOST_PLANNED_KEYS }
  return terminators.reduce((a, b) => (b.pollMs > a.pollMs ? b : a), none)
}
