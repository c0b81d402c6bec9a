// lighttpd's one file of one key. lighttpd looks at it when the second of the day is a multiple of 64, keeps the last
// three keys that it read, and must never be signalled. So each key is written once, when this node learns of it, with
// its times by the clock of this host; never two between two looks, and never in the second of a look.

import { readFileSync, statSync } from 'node:fs'
import { lighttpdStek } from '../layouts/binary.ts'
import { windowOf } from '../layouts/key-files.ts'
import { type AgedKey, hasLostTurn, type RingView } from '../rule.ts'
import { type RingTimes, SPREAD_MS } from '../times.ts'
import type { Moment, Target, TargetFile } from './target.ts'

const LOOK_PERIOD_MS = 64_000
/** Least time between two writes, so that lighttpd sees both. */
const WRITE_PAUSE_MS = LOOK_PERIOD_MS + 1000
/** lighttpd misses what is written in the second of its look, after it; a second more on both sides for its lateness. */
const FIRST_WRITE_MS = 2000
const LAST_WRITE_MS = LOOK_PERIOD_MS - 2000
const STEK_BYTES = 92
const NAME_START = 12
const NAME_END = 28

/** What was last written, by this process or by one before it. */
interface Written {
  readonly hexName: string
  readonly wallMs: number
}

export function lighttpdTarget(
  basics: Omit<Target, 'shown' | 'deliver'>,
  file: string,
  times: RingTimes,
): Target {
  let last = readLast(file)
  /** Names of keys that lighttpd has, or must not be given again. */
  const given = new Set<string>()
  const pendingIn = (view: RingView) => pendingKeys(view, given, last?.hexName, times)
  return {
    ...basics,
    shown: (view) => pendingIn(view)[0]?.key.hexName ?? last?.hexName ?? '',
    readyMs(moment, view) {
      const [pending] = pendingIn(view)
      const isCurrent = pending === undefined || pending === view.current
      // Another node may have made a key at the same time, and lighttpd has no room for one that loses its turn.
      const settledMs = isCurrent ? moment.monotonicMs : pending.knownMs + 2 * SPREAD_MS
      const waitMs = Math.max(0, settledMs - moment.monotonicMs)
      return writeMs(
        { monotonicMs: moment.monotonicMs + waitMs, wallMs: moment.wallMs + waitMs },
        last,
      )
    },
    deliver(view, moment) {
      const [pending] = pendingIn(view)
      if (pending === undefined) return { files: rewritten(file, view, moment, last, times) }
      const { hexName } = pending.key
      return {
        files: [
          { path: file, bytes: stekOf(pending, view, moment, times), changedMs: moment.wallMs },
        ],
        done() {
          // Keys before this one count as given, too: if one were written later, lighttpd would take it for the newest.
          for (const { key } of [...view.previous, ...inTurn(view)]) {
            given.add(key.hexName)
            if (key.hexName === hexName) break
          }
          last = { hexName, wallMs: moment.wallMs }
        },
      }
    },
  }
}

/** The keys in the order in which lighttpd must read them. Past ones are left out: it holds no more than three. */
function inTurn({ current, next }: RingView): AgedKey[] {
  return current === undefined ? [] : [current, ...next]
}

function pendingKeys(
  view: RingView,
  given: ReadonlySet<string>,
  lastName: string | undefined,
  times: RingTimes,
): AgedKey[] {
  const keys = inTurn(view).filter((one) => one === view.current || !hasLostTurn(one, view, times))
  const lastIndex = keys.findIndex(({ key }) => key.hexName === lastName)
  return keys.filter(({ key }, index) => index > lastIndex && !given.has(key.hexName))
}

/** The earliest monotonic moment for a write. */
function writeMs({ monotonicMs, wallMs }: Moment, last: Written | undefined): number {
  // A clock that was set back must not stop the rotation.
  const isPast = last !== undefined && last.wallMs <= wallMs
  const earliestMs = isPast ? Math.max(wallMs, last.wallMs + WRITE_PAUSE_MS) : wallMs
  const phaseMs = earliestMs % LOOK_PERIOD_MS
  const isTooLate = phaseMs > LAST_WRITE_MS
  const delayMs = Math.max(0, FIRST_WRITE_MS + (isTooLate ? LOOK_PERIOD_MS : 0) - phaseMs)
  return monotonicMs + (earliestMs - wallMs) + delayMs
}

function stekOf(one: AgedKey, view: RingView, moment: Moment, times: RingTimes): Buffer {
  const { notBeforeSec, notAfterSec } = windowOf(one, view.next.includes(one), times, moment)
  return lighttpdStek(one.key, notBeforeSec, notAfterSec)
}

/** The file as it was, for one that was damaged, with its old time: lighttpd has read it and must not do so again. */
function rewritten(
  path: string,
  view: RingView,
  moment: Moment,
  last: Written | undefined,
  times: RingTimes,
): TargetFile[] {
  const one = inTurn(view).find(({ key }) => key.hexName === last?.hexName)
  if (one === undefined || last === undefined) return []
  return [{ path, bytes: stekOf(one, view, moment, times), changedMs: last.wallMs }]
}

/** What the file says that an earlier process wrote; undefined without a whole file. */
function readLast(file: string): Written | undefined {
  try {
    const bytes = readFileSync(file)
    const isWhole = bytes.length === STEK_BYTES
    const hexName = bytes.toString('hex', NAME_START, NAME_END)
    bytes.fill(0)
    if (!isWhole) return undefined
    return { hexName, wallMs: statSync(file).mtimeMs }
  } catch {
    return undefined
  }
}
