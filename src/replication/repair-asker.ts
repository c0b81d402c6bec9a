// Asks senders for what did not arrive: a NACK of ranges after a short wait for what is only late, again
// and again until it came, is gone from the sender's log, or is too old.

import type { Clock, Timer } from '../base/clock.ts'
import type { RandomSource } from '../base/random.ts'
import { encodeNack } from '../wire/message.ts'
import type { SequenceRange } from '../wire/replay-window.ts'
import type { Sealer } from '../wire/seal.ts'
import { spreadDelayMs } from './nack-spread.ts'
import type { Sender } from './sender.ts'
import type { ReplicationStats } from './stats.ts'
import type { Transport } from './transport.ts'

/** What arrives this little out of order is not asked for; a quarter of the round trip when that is more. */
const MIN_REORDER_WAIT_MS = 2
const MAX_REORDER_WAIT_MS = 20
/** From one NACK to the next, as timers and busy event loops allow. */
const MIN_INTERVAL_MS = 5
const MAX_INTERVAL_MS = 1000
/** Of what an answer takes now: a repair that takes longer is taken for lost. */
const ROUND_TRIPS_PER_INTERVAL = 1.5
/** Attempts before the interval begins to double: with a third of all datagrams lost one of them succeeds. */
const STEADY_ATTEMPTS = 8
/** Of a NACK that repeats another: where much is lost, one of the two arrives. */
const REPEATED_COPIES = 2
/** In a group, the time over which receivers of one loss spread their NACKs, in round trips (NORM: 4). */
const SPREAD_ROUND_TRIPS = 4
const MIN_SPREAD_MS = 8

export interface RepairAskerOptions {
  readonly sealer: Sealer
  readonly transport: Transport
  readonly clock: Clock
  readonly random: RandomSource
  readonly stats: ReplicationStats
  /** Members of the multicast group, this node included. */
  readonly groupSize: () => number
  /** Runs after gaps were given up or filled, when something may have been lost for good. */
  readonly onChecked: (sender: Sender) => void
}

export class RepairAsker {
  readonly #options: RepairAskerOptions
  /** Those with gaps. */
  readonly #waiting = new Set<Sender>()
  #timer: Timer | undefined
  #timerMs = Number.POSITIVE_INFINITY

  constructor(options: RepairAskerOptions) {
    this.#options = options
  }

  /** Numbers above all known of this verified sender did not arrive yet. */
  notice(sender: Sender, range: SequenceRange): void {
    const nowMs = this.#options.clock.monotonicMs()
    const quarterMs = sender.roundTripMs / 4
    const waitMs = Math.min(MAX_REORDER_WAIT_MS, Math.max(MIN_REORDER_WAIT_MS, quarterMs))
    const dueMs = nowMs + waitMs + this.#spreadMs(sender)
    sender.gaps.add(range, nowMs, dueMs)
    this.#waiting.add(sender)
    this.#arm(dueMs)
  }

  /** The sender no longer has what it sent up to this number. */
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
    // After a stall timers come first, but what they would ask for may wait in the socket.
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
    // What one NACK could not hold is due already: paced, as its answer must be.
    if (dueMs !== Number.POSITIVE_INFINITY) this.#arm(Math.max(dueMs, nowMs + MIN_REORDER_WAIT_MS))
  }

  #ask(sender: Sender, nowMs: number): void {
    const { changes, gaps, bootId, provenAddress } = sender
    if (changes === undefined) return
    const { sealer, transport, stats } = this.#options
    const { ranges, isRepeated } = gaps.takeDue(changes, nowMs, (attempts) =>
      this.#intervalMs(sender, attempts),
    )
    this.#options.onChecked(sender)
    // Where it did not prove to be, its repairs could not be asked for, and somebody else would be.
    if (ranges.length === 0 || provenAddress === undefined) return
    const message = encodeNack({ bootId, ranges })
    for (let copy = 0; copy < (isRepeated ? REPEATED_COPIES : 1); copy += 1) {
      if (transport.send(sealer.seal('control', message), provenAddress)) stats.datagramsSent += 1
      else stats.dropped.queue_full += 1
    }
  }

  /** How long to wait for the answer to the last of so many attempts. */
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
