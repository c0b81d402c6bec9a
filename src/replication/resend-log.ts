// Datagrams with changes as they were sent, to be sent again when somebody missed them. A ring of bytes:
// a log of Buffers would keep alive whatever else Node carved from the same slabs.

import type { Clock } from '../base/clock.ts'
import { WINDOW_SIZE } from '../wire/replay-window.ts'
import { MAX_GAP_AGE_MS } from './gap-list.ts'

export const DEFAULT_RESEND_LOG_BYTES = 16 * 1024 * 1024
/** Receivers tell no more numbers apart. */
const MAX_DATAGRAMS = WINDOW_SIZE

export class ResendLog {
  readonly #clock: Clock
  readonly #ring: Buffer
  readonly #offsets = new Float64Array(MAX_DATAGRAMS)
  readonly #lengths = new Uint32Array(MAX_DATAGRAMS)
  readonly #sentMs = new Float64Array(MAX_DATAGRAMS)
  /** Bytes written since the start, those skipped at the end of the ring included. */
  #written = 0
  /** The log holds #first to #next - 1. */
  #first = 1
  #next = 1

  constructor(clock: Clock, maxBytes = DEFAULT_RESEND_LOG_BYTES) {
    this.#clock = clock
    // Pages that were never written to take no memory.
    this.#ring = Buffer.allocUnsafeSlow(maxBytes)
  }

  /** The lowest sequence number held; one above the last added when there is none. */
  get first(): number {
    this.#expire()
    return this.#first
  }

  /** Keeps a copy of the datagram with the next sequence number, counted from 1. */
  add(datagram: Buffer): void {
    const sizeBytes = this.#ring.length
    const sequence = this.#next
    this.#next += 1
    if (datagram.length > sizeBytes) {
      this.#first = this.#next
      return
    }
    const position = this.#written % sizeBytes
    const skipped = position + datagram.length > sizeBytes ? sizeBytes - position : 0
    const start = this.#written + skipped
    this.#written = start + datagram.length
    const slot = sequence % MAX_DATAGRAMS
    this.#offsets[slot] = start
    this.#lengths[slot] = datagram.length
    this.#sentMs[slot] = this.#clock.monotonicMs()
    this.#first = Math.max(this.#first, this.#next - MAX_DATAGRAMS)
    while (this.#written - (this.#offsets[this.#first % MAX_DATAGRAMS] ?? 0) > sizeBytes) {
      this.#first += 1
    }
    datagram.copy(this.#ring, start % sizeBytes)
  }

  /** A copy of the datagram, or undefined when it is not held. */
  get(sequence: number): Buffer | undefined {
    if (sequence < this.first || sequence >= this.#next) return undefined
    const slot = sequence % MAX_DATAGRAMS
    const start = (this.#offsets[slot] ?? 0) % this.#ring.length
    return Buffer.from(this.#ring.subarray(start, start + (this.#lengths[slot] ?? 0)))
  }

  /** The length of the datagram, or 0 when it is not held. */
  lengthOf(sequence: number): number {
    const isHeld = sequence >= this.first && sequence < this.#next
    return isHeld ? (this.#lengths[sequence % MAX_DATAGRAMS] ?? 0) : 0
  }

  #expire(): void {
    const oldestMs = this.#clock.monotonicMs() - MAX_GAP_AGE_MS
    while (
      this.#first < this.#next &&
      (this.#sentMs[this.#first % MAX_DATAGRAMS] ?? 0) < oldestMs
    ) {
      this.#first += 1
    }
  }
}
