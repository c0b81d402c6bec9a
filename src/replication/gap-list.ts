// The gaps in the changes of one sender: when each was noticed and when to ask for it (again). What of
// a gap has arrived meanwhile is known to the replay window only, and looked up when the gap is due.

import { MAX_NACK_RANGES, MAX_NACK_SEQUENCES } from '../wire/message.ts'
import type { ReplayWindow, SequenceRange } from '../wire/replay-window.ts'

/** Gaps told apart; more become part of the newest one. */
export const MAX_GAPS = 256
/** As long as senders keep what they sent: later there is nobody to ask. */
export const MAX_GAP_AGE_MS = 30_000

interface Gap {
  from: number
  to: number
  readonly noticedMs: number
  /** How often it was asked for. */
  attempts: number
  /** When to ask for it. */
  dueMs: number
}

/** What to ask for now. */
export interface DueGaps {
  readonly ranges: readonly SequenceRange[]
  /** Some of it was asked for before, in vain. */
  readonly isRepeated: boolean
}

export class GapList {
  /** In the order of their sequence numbers, which is that of their age. */
  #gaps: Gap[] = []

  get count(): number {
    return this.#gaps.length
  }

  /** When the next gap is to be asked for; infinite when there is none. */
  get dueMs(): number {
    return this.#gaps.reduce((due, gap) => Math.min(due, gap.dueMs), Number.POSITIVE_INFINITY)
  }

  /** Numbers above all that are in the list did not arrive. */
  add(range: SequenceRange, nowMs: number, dueMs: number): void {
    const newest = this.#gaps.at(-1)
    if (newest === undefined || this.#gaps.length < MAX_GAPS) {
      this.#gaps.push({ ...range, noticedMs: nowMs, attempts: 0, dueMs })
    } else {
      newest.to = range.to
      newest.dueMs = Math.min(newest.dueMs, dueMs)
    }
  }

  /** Whether a number that was missing was asked for. */
  wasAsked(sequence: number): boolean {
    const isIn = (gap: Gap) => gap.from <= sequence && sequence <= gap.to
    return this.#gaps.some((gap) => isIn(gap) && gap.attempts > 0)
  }

  /**
   * What is missing and to be asked for now, as much as one NACK holds. `delayMs` says how long to wait
   * for the answer to so many attempts. Gaps that closed are forgotten; the window gives up old ones.
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

  /** Forgets gaps up to this number, which the window gave up. */
  dropUntil(sequence: number): void {
    this.#gaps = this.#gaps.filter((gap) => gap.to > sequence)
  }
}

/** What one NACK could not hold stays due, so that it is asked for next and not the same again. */
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
