// Outgoing changes: gathered while there are many, sealed once, sent to every destination. Nothing waits for the
// network: a datagram that it does not take is dropped and counted.

import type { Timer } from '../../base/world.ts'
import type { Change } from '../../store/versions.ts'
import { ChangeBatch } from '../../wire/changes.ts'
import {
  encodeFragment,
  FRAGMENT_OVERHEAD_BYTES,
  MAX_LONE_CHANGE_BYTES,
} from '../../wire/message.ts'
import type { Heartbeat } from '../repair/heartbeat.ts'
import type { ResendLog } from '../repair/resend-log.ts'
import type { ReplicationStats } from '../stats.ts'
import { type Sending, sendWholeOrInPieces } from './sending.ts'

/**
 * On a busy node, a datagram that is not full waits this long for more changes: few large datagrams cost all nodes less
 * than many small ones.
 */
const GATHER_MS = 1

export interface OutboxOptions extends Sending {
  readonly log: ResendLog
  readonly heartbeat: Heartbeat
  /** Origin of the changes this node makes. */
  readonly origin: number
  readonly maxDatagramBytes: number
  readonly stats: ReplicationStats
}

export class Outbox {
  readonly #options: OutboxOptions
  readonly #maxMessageBytes: number
  readonly #batch: ChangeBatch
  #timer: Timer | undefined

  constructor(options: OutboxOptions) {
    this.#options = options
    this.#maxMessageBytes = options.maxDatagramBytes - options.sealer.overheadBytes
    this.#batch = new ChangeBatch(this.#maxMessageBytes, options.origin)
  }

  /**
   * Sends a change now or within about GATHER_MS; its byte arrays are copied before this returns. Nothing happens
   * without peers.
   */
  publish(change: Change): void {
    if (this.#options.addresses.all.length === 0) return
    if (!this.#batch.add(change)) {
      this.#sendBatch()
      if (!this.#batch.add(change)) {
        this.#sendInFragments(change)
        return
      }
    }
    // The first change is sent at once, and those that follow in this turn of the event loop at its end. As long as
    // each further look finds new changes, they gather for GATHER_MS.
    if (this.#timer !== undefined) return
    this.#sendBatch()
    this.#timer = this.#options.clock.soon(() => this.#endTurn())
  }

  /** Sends the gathered changes now. */
  flush(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#sendBatch()
  }

  #endTurn(): void {
    const isBusy = this.#batch.count > 0
    this.#sendBatch()
    this.#timer = isBusy ? this.#options.clock.after(GATHER_MS, () => this.#endTurn()) : undefined
    if (!isBusy) this.#options.sealer.prepare()
  }

  #sendBatch(): void {
    const entries = this.#batch.count
    if (entries > 0) this.#send(this.#batch.take(this.#options.clock.wallMs()), entries)
  }

  #sendInFragments(change: Change): void {
    const { clock, origin, stats } = this.#options
    const batch = new ChangeBatch(MAX_LONE_CHANGE_BYTES, origin)
    if (!batch.add(change)) {
      stats.dropped.too_large += 1
      return
    }
    const message = batch.take(clock.wallMs())
    const chunkBytes = this.#maxMessageBytes - FRAGMENT_OVERHEAD_BYTES
    const count = Math.ceil(message.length / chunkBytes)
    for (let index = 0; index < count; index += 1) {
      const chunk = message.subarray(index * chunkBytes, (index + 1) * chunkBytes)
      // The entry is counted with its last fragment.
      this.#send(encodeFragment({ index, count, chunk }), index === count - 1 ? 1 : 0)
    }
  }

  #send(message: Buffer, entries: number): void {
    const { sealer, addresses, log, heartbeat, stats } = this.#options
    const datagram = sealer.seal('changes', message)
    const sequence = sealer.lastSequence('changes')
    stats.entriesSent += entries
    for (const peer of addresses.destinations) {
      // A group has many members: the path to one of them and its protocol version say nothing about the others.
      const sender = peer.kind === 'group' ? undefined : peer.sender
      if (sendWholeOrInPieces(this.#options, datagram, sequence, peer.address, sender)) {
        peer.entriesSent += entries
      }
    }
    // Logged after sending, because sending must not wait. A datagram that the network did not take can be asked for,
    // too.
    log.add(datagram)
    heartbeat.restart()
  }
}
