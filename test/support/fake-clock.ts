// A clock that moves by command: `advance` runs what falls due, in order of time.

import type { Clock, Timer } from '../../src/base/world.ts'

/** 2026-01-01T00:00:00Z */
const START_WALL_MS = 1_767_225_600_000
/** Not 0: lru-cache takes 0 for "no time set" (STYLE.md, P8), and so might we. */
const START_MONOTONIC_MS = 1000

interface Pending {
  readonly dueMs: number
  readonly order: number
  readonly callback: () => void
}

export class FakeClock implements Clock {
  #nowMs = START_MONOTONIC_MS
  #wallSkewMs = START_WALL_MS - START_MONOTONIC_MS
  #order = 0
  readonly #pending = new Set<Pending>()

  monotonicMs(): number {
    return this.#nowMs
  }

  wallMs(): number {
    return this.#nowMs + this.#wallSkewMs
  }

  after(delayMs: number, callback: () => void): Timer {
    this.#order += 1
    const pending = { dueMs: this.#nowMs + delayMs, order: this.#order, callback }
    this.#pending.add(pending)
    return { cancel: () => this.#pending.delete(pending) }
  }

  soon(callback: () => void): Timer {
    return this.after(0, callback)
  }

  /** Timers not yet run nor cancelled: 0 after everything was stopped. */
  get pendingCount(): number {
    return this.#pending.size
  }

  /** Moves both clocks on and runs what falls due until then, including what that schedules. */
  advance(durationMs: number): void {
    const untilMs = this.#nowMs + durationMs
    for (let next = this.#nextDue(untilMs); next !== undefined; next = this.#nextDue(untilMs)) {
      this.#pending.delete(next)
      this.#nowMs = Math.max(this.#nowMs, next.dueMs)
      next.callback()
    }
    this.#nowMs = untilMs
  }

  /** Moves both clocks on and runs nothing, as for a process that was stopped: what fell due runs late. */
  stall(durationMs: number): void {
    this.#nowMs += durationMs
  }

  /** Sets the wall clock wrong by `skewMs`, as an operator or NTP would; lifetimes do not notice. */
  shiftWall(skewMs: number): void {
    this.#wallSkewMs += skewMs
  }

  #nextDue(untilMs: number): Pending | undefined {
    let next: Pending | undefined
    for (const pending of this.#pending) {
      if (pending.dueMs > untilMs) continue
      const isEarlier =
        next === undefined ||
        pending.dueMs < next.dueMs ||
        (pending.dueMs === next.dueMs && pending.order < next.order)
      if (isEarlier) next = pending
    }
    return next
  }
}
