// The clock of one simulated machine: it runs a little fast or slow, its wall clock may be wrong by years and jump, and
// its timers run late as those of Node.js do.

import type { Clock, Timer } from '../../src/base/world.ts'
import type { Chance } from './chance.ts'
import type { Scheduled, Timeline } from './timeline.ts'

/** 2026-01-01T00:00:00Z, where the simulated time begins. */
const START_WALL_MS = 1_767_225_600_000
/** Longest time that a timer runs late: Node.js cuts delays to whole milliseconds and looks once in a turn. */
const LATENESS_MS = 1.2
/** Time from one turn of the event loop to the next. */
const TURN_MS = 0.01
/** Delays below this run with the next millisecond. */
const SHORTEST_DELAY_MS = 1

/** The hardware clocks of one machine, which go on while its processes come and go. */
export class HostClock {
  readonly #timeline: Timeline
  #rate = 1
  #monotonicMs: number
  #readAtMs: number
  #wallOffsetMs: number

  /** `startMs` is what the monotonic clock shows now: the time since the machine started. */
  constructor(timeline: Timeline, startMs: number) {
    this.#timeline = timeline
    this.#monotonicMs = startMs
    this.#readAtMs = timeline.nowMs
    this.#wallOffsetMs = START_WALL_MS + timeline.nowMs - startMs
  }

  get rate(): number {
    return this.#rate
  }

  monotonicMs(): number {
    return this.#monotonicMs + (this.#timeline.nowMs - this.#readAtMs) * this.#rate
  }

  wallMs(): number {
    return this.monotonicMs() + this.#wallOffsetMs
  }

  /** Runs at `rate` times the true speed from now on. */
  setRate(rate: number): void {
    this.#monotonicMs = this.monotonicMs()
    this.#readAtMs = this.#timeline.nowMs
    this.#rate = rate
  }

  /**
   * Wakes the machine up: its monotonic clock stood still at `monotonicMs` while it slept, and its wall clock went on.
   * The rate may have changed meanwhile, so only the clock itself knows how much time it has to take back.
   */
  wake(monotonicMs: number): void {
    const sleptMs = this.monotonicMs() - monotonicMs
    this.#monotonicMs -= sleptMs
    this.#wallOffsetMs += sleptMs
  }

  shiftWall(byMs: number): void {
    this.#wallOffsetMs += byMs
  }
}

/** The clock that one process on a machine is given. */
export class ProcessClock implements Clock {
  /** Timers that are set; none is left when a node has stopped. */
  pendingCount = 0
  readonly #timeline: Timeline
  readonly #host: HostClock
  readonly #chance: Chance
  /** Takes each callback that is due: runs it, keeps it while the process is suspended, or drops it when it is dead. */
  readonly #dispatch: (callback: () => void) => void

  constructor(
    timeline: Timeline,
    host: HostClock,
    chance: Chance,
    dispatch: (callback: () => void) => void,
  ) {
    this.#timeline = timeline
    this.#host = host
    this.#chance = chance
    this.#dispatch = dispatch
  }

  monotonicMs(): number {
    return this.#host.monotonicMs()
  }

  wallMs(): number {
    return this.#host.wallMs()
  }

  after(delayMs: number, callback: () => void): Timer {
    const wholeMs = Math.max(SHORTEST_DELAY_MS, Math.floor(delayMs))
    return this.#set(wholeMs / this.#host.rate + this.#chance.share() * LATENESS_MS, callback)
  }

  soon(callback: () => void): Timer {
    return this.#set(TURN_MS, callback)
  }

  #set(inMs: number, callback: () => void): Timer {
    this.pendingCount += 1
    let isPending = true
    const end = () => {
      if (!isPending) return false
      isPending = false
      this.pendingCount -= 1
      return true
    }
    const scheduled: Scheduled = this.#timeline.in(inMs, () =>
      this.#dispatch(() => {
        if (end()) callback()
      }),
    )
    return {
      cancel: () => {
        scheduled.run = undefined
        end()
      },
    }
  }
}
