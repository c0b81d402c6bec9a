// Simulated time: one queue of events in order of time, run one after the other without any real waiting. After each
// event everything that promises and streams have left to do is done before the next event begins.

/** Something that happens at a moment of simulated time, unless it is cancelled before. */
export interface Scheduled {
  readonly atMs: number
  readonly order: number
  run: (() => void) | undefined
}

/**
 * Runs the queues of `process.nextTick` and of promises until both are empty, as Node.js does after each callback from
 * the event loop. It works only in such a callback, never within a promise: see `inMacrotask`.
 */
const drain = (process as unknown as { _tickCallback(): void })._tickCallback.bind(process)

/** Runs `work` in a callback from the event loop, where `Timeline` can drain promises; resolves with its result. */
export function inMacrotask<Result>(work: () => Result): Promise<Result> {
  return new Promise((resolve, reject) => {
    setImmediate(() => {
      try {
        resolve(work())
      } catch (error) {
        reject(error)
      }
    })
  })
}

export class Timeline {
  /** Simulated milliseconds since the start, with fractions. */
  nowMs = 0
  /** Events run so far. */
  eventCount = 0
  /** Called after each event, when nothing is left to do in this moment. */
  onStep: () => void = () => {}
  #order = 0
  /** A binary heap, the next event first. */
  readonly #heap: Scheduled[] = []

  /** Runs `run` at `atMs`, or now when that is past; events of one moment run in the order of these calls. */
  at(atMs: number, run: () => void): Scheduled {
    this.#order += 1
    const scheduled = { atMs: Math.max(atMs, this.nowMs), order: this.#order, run }
    const heap = this.#heap
    let index = heap.length
    heap.push(scheduled)
    while (index > 0) {
      const parent = (index - 1) >> 1
      const above = heap[parent]
      if (above === undefined || isBefore(above, scheduled)) break
      heap[index] = above
      index = parent
    }
    heap[index] = scheduled
    return scheduled
  }

  in(delayMs: number, run: () => void): Scheduled {
    return this.at(this.nowMs + delayMs, run)
  }

  /** Runs all events up to `untilMs`, then sets the time to it. */
  runUntil(untilMs: number): void {
    drain()
    for (
      let next = this.#heap[0];
      next !== undefined && next.atMs <= untilMs;
      next = this.#heap[0]
    ) {
      this.#takeFirst()
      if (next.run === undefined) continue
      this.nowMs = next.atMs
      this.eventCount += 1
      next.run()
      drain()
      this.onStep()
    }
    this.nowMs = untilMs
  }

  #takeFirst(): void {
    const heap = this.#heap
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return
    let index = 0
    while (true) {
      const left = heap[2 * index + 1]
      const right = heap[2 * index + 2]
      if (left === undefined) break
      const isRight = right !== undefined && isBefore(right, left)
      const child = isRight ? right : left
      if (isBefore(last, child)) break
      heap[index] = child
      index = 2 * index + (isRight ? 2 : 1)
    }
    heap[index] = last
  }
}

function isBefore(a: Scheduled, b: Scheduled): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)
}
