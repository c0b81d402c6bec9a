// Asks senders for the datagrams that did not arrive: sends a NACK for a gap after a short wait for datagrams that are
// only late, and repeats it until they arrive, the sender no longer has them, or the gap is too old.

import type { RandomSource, Timer } from '../../base/world.ts'
import { encodeNack } from '../../wire/message.ts'
import type { SequenceRange } from '../../wire/replay-window.ts'
import type { Sender } from '../live/senders.ts'
import { type Sending, send } from '../live/sending.ts'

/**
 * Wait before a gap is asked for, because reordered datagrams may fill it: a quarter of the round trip within these
 * bounds.
 */
const MIN_REORDER_WAIT_MS = 2
const MAX_REORDER_WAIT_MS = 20
/** Bounds of the time from one NACK for a gap to the next; timers and a busy event loop make it longer. */
const MIN_INTERVAL_MS = 5
const MAX_INTERVAL_MS = 1000
/** Factor on the time that an answer takes now (`Sender.answerMs`): after that long the repair counts as lost. */
const ROUND_TRIPS_PER_INTERVAL = 1.5
/** Attempts before the interval begins to double: even where a third of all datagrams is lost, one of them succeeds. */
const STEADY_ATTEMPTS = 8
/** Copies sent of a NACK that repeats an earlier one: on a lossy path one of the two arrives. */
const REPEATED_COPIES = 2
/**
 * In a multicast group, receivers spread their NACKs for one loss over this many round trips, but at least
 * MIN_SPREAD_MS (NORM, RFC 5740: 4).
 */
const SPREAD_ROUND_TRIPS = 4
const MIN_SPREAD_MS = 8

export interface RepairAskerOptions extends Sending {
  readonly random: RandomSource
  /** Members of the multicast group, this node included. */
  readonly groupSize: () => number
  /** Called after gaps were given up or filled, when something may have been lost for good. */
  readonly onChecked: (sender: Sender) => void
}

export class RepairAsker {
  readonly #options: RepairAskerOptions
  /** Senders with gaps, to look at when the timer fires. */
  readonly #waiting = new Set<Sender>()
  #timer: Timer | undefined
  #timerMs = Number.POSITIVE_INFINITY

  constructor(options: RepairAskerOptions) {
    this.#options = options
  }

  /** Notes a gap: the sender is verified, and `range` lies above all sequence numbers known of it until now. */
  notice(sender: Sender, range: SequenceRange): void {
    const nowMs = this.#options.clock.monotonicMs()
    const quarterMs = sender.roundTripMs / 4
    const waitMs = Math.min(MAX_REORDER_WAIT_MS, Math.max(MIN_REORDER_WAIT_MS, quarterMs))
    const dueMs = nowMs + waitMs + this.#spreadMs(sender)
    sender.gaps.add(range, nowMs, dueMs)
    this.#waiting.add(sender)
    this.#arm(dueMs)
  }

  /** Gives up what is missing up to `sequence`: the sender said that it no longer has it. */
  receiveGone(sender: Sender, sequence: number): void {
    sender.changes?.giveUp(sequence)
    sender.gaps.dropUntil(sequence)
    this.#options.onChecked(sender)
  }

  forget(sender: Sender): void {
    this.#waiting.delete(sender)
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#timerMs = Number.POSITIVE_INFINITY
  }

  #arm(dueMs: number): void {
    if (this.#timerMs <= dueMs) return
    this.stop()
    const { clock } = this.#options
    this.#timerMs = dueMs
    // After a stall of the event loop, timers run before sockets are read, and the missing datagrams may be in the
    // socket: read it first.
    this.#timer = clock.after(Math.max(0, dueMs - clock.monotonicMs()), () => {
      this.#timer = clock.soon(() => this.#run())
    })
  }

  #run(): void {
    this.stop()
    const nowMs = this.#options.clock.monotonicMs()
    let dueMs = Number.POSITIVE_INFINITY
    for (const sender of this.#waiting) {
      this.#ask(sender, nowMs)
      if (sender.gaps.count === 0) this.#waiting.delete(sender)
      else dueMs = Math.min(dueMs, sender.gaps.dueMs)
    }
    // Ranges that did not fit into one NACK are due at once. They wait for a moment, so that their repairs do not come
    // in one burst.
    if (dueMs !== Number.POSITIVE_INFINITY) this.#arm(Math.max(dueMs, nowMs + MIN_REORDER_WAIT_MS))
  }

  #ask(sender: Sender, nowMs: number): void {
    const { changes, gaps, bootId, provenAddress } = sender
    if (changes === undefined) return
    const { ranges, isRepeated } = gaps.takeDue(changes, nowMs, (attempts) =>
      this.#intervalMs(sender, attempts),
    )
    this.#options.onChecked(sender)
    // Without a proven address a NACK could go to a host that the sender is not at.
    if (ranges.length === 0 || provenAddress === undefined) return
    const message = encodeNack({ bootId, ranges })
    for (let copy = 0; copy < (isRepeated ? REPEATED_COPIES : 1); copy += 1) {
      send(this.#options, this.#options.sealer.seal('control', message), provenAddress)
    }
  }

  /** Milliseconds to wait for the repair after this many attempts, before the next one. */
  #intervalMs(sender: Sender, attempts: number): number {
    const steadyMs = Math.max(MIN_INTERVAL_MS, ROUND_TRIPS_PER_INTERVAL * sender.answerMs)
    const doublings = Math.max(0, attempts - STEADY_ATTEMPTS)
    const intervalMs = Math.min(MAX_INTERVAL_MS, steadyMs * 2 ** doublings)
    return intervalMs + this.#spreadMs(sender)
  }

  #spreadMs(sender: Sender): number {
    const { transport, random, groupSize } = this.#options
    if (transport.group === undefined) return 0
    const withinMs = Math.max(MIN_SPREAD_MS, SPREAD_ROUND_TRIPS * sender.roundTripMs)
    return spreadDelayMs(withinMs, groupSize(), random)
  }
}

// Spreads the NACKs of many receivers of one multicast loss over time, so that the repair that the first NACK requests
// arrives before most other receivers send theirs: a truncated exponential distribution, as in RFC 5401.

const RANDOM_BYTES = 4

/** A random delay from 0 to `withinMs`. Longer delays are likelier, the more so the larger the group is. */
export function spreadDelayMs(withinMs: number, groupSize: number, random: RandomSource): number {
  const lambda = Math.log(Math.max(1, groupSize)) + 1
  const uniform = random(RANDOM_BYTES).readUInt32BE() / 2 ** (8 * RANDOM_BYTES)
  return (withinMs / lambda) * Math.log(1 + uniform * Math.expm1(lambda))
}
