// The gaps in the changes of one sender: when each was noticed and when to ask for it. Only the replay window knows
// what has arrived of a gap meanwhile; it is consulted when the gap is due.

import { MAX_NACK_RANGES, MAX_NACK_SEQUENCES } from '../../wire/message.ts'
import type { ReplayWindow, SequenceRange } from '../../wire/replay-window.ts'

/** Gaps in the list; further ones extend the newest. */
export const MAX_GAPS = 256
/** A gap is given up after this time. Senders keep their datagrams no longer. */
export const MAX_GAP_AGE_MS = 30_000

interface Gap {
  from: number
  to: number
  readonly noticedMs: number
  /** NACKs sent for it. */
  attempts: number
  /** Monotonic time of the next NACK for it. */
  dueMs: number
}

/** Ranges for one NACK. */
export interface DueGaps {
  readonly ranges: readonly SequenceRange[]
  /** True when some of it was asked for before. */
  readonly isRepeated: boolean
}

export class GapList {
  /** Ordered by sequence number, which is also the order of age. */
  #gaps: Gap[] = []

  get count(): number {
    return this.#gaps.length
  }

  /** Monotonic time when the next gap is due; infinite when there is none. */
  get dueMs(): number {
    return this.#gaps.reduce((due, gap) => Math.min(due, gap.dueMs), Number.POSITIVE_INFINITY)
  }

  /** Adds a gap, above all that are in the list. */
  add(range: SequenceRange, nowMs: number, dueMs: number): void {
    const newest = this.#gaps.at(-1)
    if (newest === undefined || this.#gaps.length < MAX_GAPS) {
      this.#gaps.push({ ...range, noticedMs: nowMs, attempts: 0, dueMs })
    } else {
      newest.to = range.to
      newest.dueMs = Math.min(newest.dueMs, dueMs)
    }
  }

  /** Whether a missing number was asked for at least once. */
  wasAsked(sequence: number): boolean {
    const isIn = (gap: Gap) => gap.from <= sequence && sequence <= gap.to
    return this.#gaps.some((gap) => isIn(gap) && gap.attempts > 0)
  }

  /**
   * Takes the missing ranges that are due, as many as one NACK holds. `delayMs` returns the wait after that many
   * attempts. Gaps that were filled are removed, and those older than MAX_GAP_AGE_MS are given up in the window.
   */
  takeDue(window: ReplayWindow, nowMs: number, delayMs: (attempts: number) => number): DueGaps {
    const ranges: SequenceRange[] = []
    const kept: Gap[] = []
    let isRepeated = false
    let sequencesLeft = MAX_NACK_SEQUENCES
    const hasRoom = (before: readonly Gap[], index: number) =>
      before.length + this.#gaps.length - index < MAX_GAPS
    for (const [index, gap] of this.#gaps.entries()) {
      if (nowMs - gap.noticedMs > MAX_GAP_AGE_MS) {
        window.giveUp(gap.to)
        continue
      }
      const rangesLeft = MAX_NACK_RANGES - ranges.length
      if (gap.dueMs > nowMs || rangesLeft === 0 || sequencesLeft === 0) {
        kept.push(gap)
        continue
      }
      const missing = window.missing(rangesLeft, gap.from, gap.to)
      const [first] = missing
      if (first === undefined) continue
      gap.from = first.from
      const asked = cutToCount(missing, sequencesLeft)
      for (const { from, to } of asked) sequencesLeft -= to - from + 1
      ranges.push(...asked)
      const rest = hasRoom(kept, index) ? splitAfter(gap, asked.at(-1)?.to ?? gap.to) : []
      isRepeated ||= gap.attempts > 0
      gap.attempts += 1
      gap.dueMs = nowMs + delayMs(gap.attempts)
      kept.push(gap, ...rest)
    }
    this.#gaps = kept
    return { ranges, isRepeated }
  }

  /** Removes gaps up to this number, which the window gave up. */
  dropUntil(sequence: number): void {
    this.#gaps = this.#gaps.filter((gap) => gap.to > sequence)
  }
}

/** Cuts a gap behind the number asked for last; the returned rest stays due, so that the next NACK asks for it. */
function splitAfter(gap: Gap, askedTo: number): Gap[] {
  if (askedTo >= gap.to) return []
  const rest = { ...gap, from: askedTo + 1 }
  gap.to = askedTo
  return [rest]
}

/** The first `count` numbers of these ranges. */
function cutToCount(ranges: readonly SequenceRange[], count: number): SequenceRange[] {
  const cut: SequenceRange[] = []
  let left = count
  for (const { from, to } of ranges) {
    if (left === 0) break
    const last = Math.min(to, from + left - 1)
    cut.push({ from, to: last })
    left -= last - from + 1
  }
  return cut
}
