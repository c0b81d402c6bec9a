// The watches of one rpc connection: each sends the ticket keys of a group at once and after every change. A watch has at
// most one frame in the stream: while its peer does not read, changes are joined, and the next frame has the newest keys.

import type { Duplex } from 'node:stream'
import type { Clock } from '../../base/world.ts'
import type { TicketKeySource } from '../../tickets/authority.ts'
import type { AgedKey } from '../../tickets/rule.ts'
import { encodeHooksResponse } from '../../wire/hooks-message.ts'
import type { OfferedKey } from '../../wire/ring-message.ts'
import type { RpcStats } from './stats.ts'

/** A watch that a request asked for. */
export interface WatchStart {
  /** The number of the request, which every answer repeats. */
  readonly number: number
  readonly group: string
  readonly source: TicketKeySource
}

export class TicketWatches {
  readonly #stream: Duplex
  readonly #clock: Clock
  readonly #stats: RpcStats
  /** One watch for each group, so their number is bounded by that of the groups. */
  readonly #watches = new Map<string, Watch>()

  constructor(stream: Duplex, clock: Clock, stats: RpcStats) {
    this.#stream = stream
    this.#clock = clock
    this.#stats = stats
  }

  /** Begins a watch, which takes the place of an earlier one of its group. */
  start(start: WatchStart): void {
    this.#watches.get(start.group)?.close()
    const watch = new Watch(start, this.#stream, this.#clock, this.#stats)
    this.#watches.set(start.group, watch)
  }

  /** Whether keys have waited to be read for at least this time. */
  isOverdue(nowMs: number, stallTimeoutMs: number): boolean {
    for (const { waitingSinceMs } of this.#watches.values()) {
      if (waitingSinceMs !== undefined && nowMs - waitingSinceMs >= stallTimeoutMs) return true
    }
    return false
  }

  /** Ends all watches. Idempotent. */
  close(): void {
    for (const watch of this.#watches.values()) watch.close()
    this.#watches.clear()
  }
}

class Watch {
  /** Since when a frame waits in the stream; undefined when none does. */
  waitingSinceMs: number | undefined
  readonly #start: WatchStart
  readonly #stream: Duplex
  readonly #clock: Clock
  readonly #stats: RpcStats
  readonly #unsubscribe: () => void
  #hasChanged = false
  #isOver = false

  constructor(start: WatchStart, stream: Duplex, clock: Clock, stats: RpcStats) {
    this.#start = start
    this.#stream = stream
    this.#clock = clock
    this.#stats = stats
    this.#unsubscribe = start.source.onChange(() => this.#send())
    this.#send()
  }

  close(): void {
    this.#isOver = true
    this.#unsubscribe()
  }

  #send(): void {
    if (this.#isOver) return
    this.#hasChanged = this.waitingSinceMs !== undefined
    if (this.#hasChanged) return
    const { number, source } = this.#start
    const { current, next, previous } = source.view()
    const nowMs = this.#clock.monotonicMs()
    const offer = (one: AgedKey) => offerOf(one, nowMs)
    const frame = encodeHooksResponse(number, {
      kind: 'ticketKeys',
      current: current && offer(current),
      next: next.map(offer),
      previous: previous.map(offer),
    })
    this.waitingSinceMs = nowMs
    this.#stats.ticketUpdates += 1
    this.#stats.bytesWritten += frame.length
    // Called also when the stream failed or was destroyed; then the watch is closed.
    this.#stream.write(frame, () => {
      frame.fill(0)
      this.waitingSinceMs = undefined
      if (this.#hasChanged) this.#send()
    })
  }
}

/** A key with views of its secrets, which are encoded at once. */
function offerOf({ key, bornMs }: AgedKey, nowMs: number): OfferedKey {
  return {
    name: key.name,
    secret: key.secret,
    ageMs: Math.max(0, Math.floor(nowMs - bornMs)),
  }
}
