// Sealed datagrams with changes, kept for retransmission in a ring of bytes: a log of Buffers would keep alive
// everything else that Node carved from the same slabs.

import type { Clock } from '../../base/world.ts'
import type { KeySource } from '../../wire/keyring.ts'
import { WINDOW_SIZE } from '../../wire/replay-window.ts'
import { MAX_GAP_AGE_MS } from './gap-list.ts'

export const DEFAULT_RESEND_LOG_BYTES = 16 * 1024 * 1024
/** Datagrams in the log; a receiver's replay window tells no more numbers apart. */
const MAX_DATAGRAMS = WINDOW_SIZE

export class ResendLog {
  readonly #clock: Clock
  readonly #keys: KeySource
  readonly #ring: Buffer
  readonly #offsets = new Float64Array(MAX_DATAGRAMS)
  readonly #lengths = new Uint32Array(MAX_DATAGRAMS)
  readonly #sentMs = new Float64Array(MAX_DATAGRAMS)
  /** ID of the key that sealed each datagram. */
  readonly #keyIds = new Uint32Array(MAX_DATAGRAMS)
  /** Bytes written since the start, with those skipped at the end of the ring. */
  #written = 0
  /** Lowest sequence number in the log; it holds those below #next. */
  #first = 1
  #next = 1

  /** Datagrams that are added are sealed with the primary key of `keys`. */
  constructor(clock: Clock, keys: KeySource, maxBytes = DEFAULT_RESEND_LOG_BYTES) {
    this.#clock = clock
    this.#keys = keys
    // Not filled: pages that were never written take no memory.
    this.#ring = Buffer.allocUnsafeSlow(maxBytes)
  }

  /**
   * Lowest sequence number in the log; one above the last added when it is empty. Datagrams older than MAX_GAP_AGE_MS
   * are no longer in it, nor are those of a key that was removed from the ring: no peer opens them any more.
   */
  get first(): number {
    this.#expire()
    return this.#first
  }

  /** Adds a copy of the datagram that has the next sequence number; the first one is 1. The oldest are overwritten. */
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
    this.#keyIds[slot] = this.#keys.current.primaryKeyId
    this.#first = Math.max(this.#first, this.#next - MAX_DATAGRAMS)
    while (this.#written - (this.#offsets[this.#first % MAX_DATAGRAMS] ?? 0) > sizeBytes) {
      this.#first += 1
    }
    datagram.copy(this.#ring, start % sizeBytes)
  }

  /** A copy of the datagram; undefined when it is not in the log. */
  get(sequence: number): Buffer | undefined {
    if (sequence < this.first || sequence >= this.#next) return undefined
    const slot = sequence % MAX_DATAGRAMS
    const start = (this.#offsets[slot] ?? 0) % this.#ring.length
    return Buffer.from(this.#ring.subarray(start, start + (this.#lengths[slot] ?? 0)))
  }

  /** Length of the datagram in bytes; 0 when it is not in the log. */
  lengthOf(sequence: number): number {
    const isHeld = sequence >= this.first && sequence < this.#next
    return isHeld ? (this.#lengths[sequence % MAX_DATAGRAMS] ?? 0) : 0
  }

  #expire(): void {
    const oldestMs = this.#clock.monotonicMs() - MAX_GAP_AGE_MS
    const keyring = this.#keys.current
    for (; this.#first < this.#next; this.#first += 1) {
      const slot = this.#first % MAX_DATAGRAMS
      const isYoung = (this.#sentMs[slot] ?? 0) >= oldestMs
      if (isYoung && keyring.has(this.#keyIds[slot] ?? 0)) return
    }
  }
}
