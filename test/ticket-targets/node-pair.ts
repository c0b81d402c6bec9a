// Two nodes in this process that swap rings as two on a network do, each with the targets beside it. Their clock can run
// faster than the real one.

import type { Clock, Timer } from '../../src/base/world.ts'
import { silentLogger, systemClock, systemRandom } from '../../src/base/world.ts'
import { TicketAuthority } from '../../src/tickets/authority.ts'
import { originOf } from '../../src/tickets/layouts/opened-ticket.ts'
import { type AgedKey, openedKeys } from '../../src/tickets/rule.ts'
import { terminatorLimits } from '../../src/tickets/targets/kinds.ts'
import type { TargetReport } from '../../src/tickets/targets/runner.ts'
import { targetSchema } from '../../src/tickets/targets/target-schema.ts'
import { TicketTargets } from '../../src/tickets/targets/targets.ts'
import { type RingTimes, ringTimes } from '../../src/tickets/times.ts'

/** Rings change so fast here that a swap every 3 s, as between nodes, would be late. */
const SWAP_MS = 300

/** A clock that runs `speed` times as fast as the real one, from now on. */
export class FastClock implements Clock {
  readonly speed: number
  readonly #startMs = systemClock.monotonicMs()
  readonly #startWallMs = systemClock.wallMs()

  constructor(speed: number) {
    this.speed = speed
  }

  monotonicMs(): number {
    return (systemClock.monotonicMs() - this.#startMs) * this.speed
  }

  wallMs(): number {
    return this.#startWallMs + this.monotonicMs()
  }

  after(delayMs: number, callback: () => void): Timer {
    return systemClock.after(delayMs / this.speed, callback)
  }

  soon(callback: () => void): Timer {
    return systemClock.soon(callback)
  }

  /** What is to be added to the real time, in seconds, for this clock's. */
  offsetSec(): number {
    return (this.wallMs() - systemClock.wallMs()) / 1000
  }
}

export interface PairOptions {
  readonly clock: FastClock
  /** Intervals of all groups, in ms of `clock`. */
  readonly groups: readonly { readonly name: string; readonly rotateMs: number }[]
  /** The targets of both nodes, as they are written. */
  readonly targets: readonly [readonly object[], readonly object[]]
}

interface Member {
  readonly authority: TicketAuthority
  readonly targets: TicketTargets
}

export class NodePair {
  readonly times: ReadonlyMap<string, RingTimes>
  readonly #clock: FastClock
  readonly #members: readonly Member[]
  readonly #agreed = new Map<string, { name: string; sinceMs: number }>()
  #timers: Timer[] = []

  constructor({ clock, groups, targets }: PairOptions) {
    this.#clock = clock
    const parsed = targets.map((list) => list.map((one) => targetSchema.parse(one)))
    this.times = new Map(
      groups.map(({ name, rotateMs }) => {
        const all = parsed.flat().filter(({ group }) => group === name)
        const limits = all.map((one) => terminatorLimits(one, rotateMs))
        const settings = { name, rotateMs, lifetimeMs: rotateMs, waitMs: rotateMs }
        return [name, ringTimes(settings, limits)]
      }),
    )
    const ringsOf = [...this.times].map(([name, times]) => ({ name, times }))
    this.#members = parsed.map((list, index) => {
      const nodeId = Buffer.from(`node ${index}`)
      const authority = new TicketAuthority({
        groups: ringsOf,
        nodeId,
        clock,
        random: systemRandom,
      })
      const world = { clock, logger: silentLogger }
      return { authority, targets: new TicketTargets({ targets: list, authority, world }) }
    })
  }

  /** Resolves when every terminator has its files. */
  async start(): Promise<void> {
    const [first, second] = this.#members
    first?.authority.mayMake()
    this.#swap()
    second?.authority.mayMake()
    await Promise.all(this.#members.map(({ targets }) => targets.start()))
    const again = () => {
      this.#swap()
      this.#timers[0] = this.#clock.after(SWAP_MS, again)
    }
    again()
    const look = () => {
      this.#look()
      this.#timers[1] = systemClock.after(200, look)
    }
    look()
  }

  /** The key that both nodes mint for a group, and since when in real time. */
  agreed(group: string): { readonly name: string; readonly sinceMs: number } | undefined {
    this.#look()
    return this.#agreed.get(group)
  }

  /** The name of the key of a group that signed a ticket; undefined for a ticket of no key that is there. */
  signerOf(group: string, ticket: Buffer): string | undefined {
    const views = this.#members.map(({ authority }) => authority.source(group)?.view())
    const keys = views.flatMap((view) => (view === undefined ? [] : openedKeys(view)))
    const isSigner = (current: AgedKey) =>
      originOf(ticket, { current, next: [], previous: [] }) === 'current'
    return keys.find(isSigner)?.key.hexName
  }

  reports(): readonly TargetReport[][] {
    return this.#members.map(({ targets }) => targets.reports())
  }

  async stop(): Promise<void> {
    for (const timer of this.#timers) timer.cancel()
    await Promise.all(this.#members.map(({ targets }) => targets.stop()))
    for (const { authority } of this.#members) authority.stop()
  }

  #swap(): void {
    for (const from of this.#members)
      for (const to of this.#members) if (from !== to) to.authority.merge(from.authority.offers())
  }

  #look(): void {
    for (const group of this.times.keys()) {
      const names = this.#members.map(
        ({ authority }) => authority.source(group)?.view().current?.key.hexName,
      )
      const [name] = names
      if (name === undefined || names.some((other) => other !== name)) this.#agreed.delete(group)
      else if (this.#agreed.get(group)?.name !== name)
        this.#agreed.set(group, { name, sinceMs: performance.now() })
    }
  }
}
