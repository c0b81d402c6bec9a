// Heartbeats: after the last datagram with changes its number is shown soon and then more and more
// rarely, so that a lost last one is noticed within milliseconds. In a busy stream the next one shows it.

import type { Clock, Timer } from '../base/clock.ts'
import { encodeHeartbeat } from '../wire/message.ts'
import type { Sealer } from '../wire/seal.ts'
import { GREETING_PERIOD_MS } from './greeter.ts'
import type { PeerAddresses } from './peer-addresses.ts'
import type { ReplicationStats } from './stats.ts'
import type { Transport } from './transport.ts'

/** From the last datagram to the first heartbeat; doubles until greetings come as often. */
const FIRST_HEARTBEAT_MS = 4

/** From this interval on it goes past the repeaters, too: shows what they lost, or that they are gone. */
const DIRECT_INTERVAL_MS = 64

export interface HeartbeatOptions {
  readonly sealer: Sealer
  readonly transport: Transport
  readonly addresses: PeerAddresses
  readonly clock: Clock
  readonly stats: ReplicationStats
}

export class Heartbeat {
  readonly #options: HeartbeatOptions
  #dueMs = Number.POSITIVE_INFINITY
  #intervalMs = FIRST_HEARTBEAT_MS
  #timer: Timer | undefined
  #timerMs = Number.POSITIVE_INFINITY

  constructor(options: HeartbeatOptions) {
    this.#options = options
  }

  /** A datagram with changes was sent: cheap, as every one of them calls it. */
  restart(): void {
    this.#intervalMs = FIRST_HEARTBEAT_MS
    this.#dueMs = this.#options.clock.monotonicMs() + FIRST_HEARTBEAT_MS
    // A timer that fires too early waits on; only one that fires too late must be set anew.
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
    const { sealer, transport, addresses, stats } = this.#options
    const message = encodeHeartbeat(sealer.lastSequence('changes'))
    const datagram = sealer.seal('control', message)
    const isDirect = this.#intervalMs >= DIRECT_INTERVAL_MS
    const direct = isDirect ? addresses.behindRepeaters : []
    for (const peer of [...addresses.destinations, ...direct]) {
      if (transport.send(datagram, peer.address)) stats.datagramsSent += 1
      else stats.dropped.queue_full += 1
    }
  }
}
