// Heartbeats repeat the last sequence number of the changes, soon after the last datagram and then more and more
// rarely, so that peers notice within milliseconds when that datagram was lost. In a busy stream the next datagram
// shows it.

import type { Timer } from '../../base/world.ts'
import { encodeHeartbeat } from '../../wire/message.ts'
import { type Sending, send } from '../live/sending.ts'
import { GREETING_PERIOD_MS } from '../peers/greeter.ts'

/**
 * Time from the last datagram with changes to the first heartbeat. It doubles up to GREETING_PERIOD_MS; from then on
 * greetings carry the number.
 */
const FIRST_HEARTBEAT_MS = 4

/**
 * From this interval on heartbeats also go directly to the nodes behind repeaters: they show what a repeater lost, or
 * that it is gone.
 */
const DIRECT_INTERVAL_MS = 64

export class Heartbeat {
  readonly #options: Sending
  #dueMs = Number.POSITIVE_INFINITY
  #intervalMs = FIRST_HEARTBEAT_MS
  #timer: Timer | undefined
  #timerMs = Number.POSITIVE_INFINITY

  constructor(options: Sending) {
    this.#options = options
  }

  /** Starts over after a datagram with changes was sent; cheap, because every such datagram calls it. */
  restart(): void {
    this.#intervalMs = FIRST_HEARTBEAT_MS
    this.#dueMs = this.#options.clock.monotonicMs() + FIRST_HEARTBEAT_MS
    // A timer that fires too early is set again then; only one that would fire too late is set again now.
    if (this.#timerMs > this.#dueMs) this.#arm()
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#timerMs = Number.POSITIVE_INFINITY
  }

  #arm(): void {
    this.stop()
    const { clock } = this.#options
    this.#timerMs = this.#dueMs
    this.#timer = clock.after(this.#dueMs - clock.monotonicMs(), () => this.#fire())
  }

  #fire(): void {
    this.stop()
    if (this.#options.clock.monotonicMs() >= this.#dueMs) {
      this.#send()
      this.#intervalMs *= 2
      if (this.#intervalMs > GREETING_PERIOD_MS) return
      this.#dueMs = this.#options.clock.monotonicMs() + this.#intervalMs
    }
    this.#arm()
  }

  #send(): void {
    const { sealer, addresses } = this.#options
    const message = encodeHeartbeat(sealer.lastSequence('changes'))
    const datagram = sealer.seal('control', message)
    const isDirect = this.#intervalMs >= DIRECT_INTERVAL_MS
    const direct = isDirect ? addresses.behindRepeaters : []
    for (const peer of [...addresses.destinations, ...direct]) {
      send(this.#options, datagram, peer.address)
    }
  }
}
