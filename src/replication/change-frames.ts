// Entries over a connection: gathered into frames of changes and sent in short turns of the event loop.

import type { Clock } from '../base/clock.ts'
import { Admission } from '../store/admission.ts'
import type { Change } from '../store/change.ts'
import type { SessionStore } from '../store/session-store.ts'
import { MIN_TOLD_TTL_MS } from '../store/stored-entries.ts'
import { ChangeBatch } from '../wire/change-batch.ts'
import type { ChangesMessage } from '../wire/change-reader.ts'
import { MAX_LONE_CHANGE_BYTES } from '../wire/message.ts'
import { NO_ORIGIN, type ToldLimits } from '../wire/sync-message.ts'
import type { FrameStream } from './frame-stream.ts'
import { Pacer } from './pacer.ts'
import type { SyncStats } from './sync-stats.ts'

/** Changes per frame: to encode or apply them takes a millisecond or two. */
const CHANGES_PER_FRAME = 128

/** Decides whether a peer takes a change, by the limits that it sent; without limits it takes everything. */
export class PeerAdmission {
  readonly #limits: ToldLimits | undefined
  readonly #admission: Admission | undefined

  constructor(limits: ToldLimits | undefined) {
    this.#limits = limits
    this.#admission = limits && new Admission(limits)
  }

  takes(change: Change): boolean {
    if (this.#limits === undefined || this.#admission === undefined) return true
    if (change.kind === 'remove') return change.id.length <= this.#limits.keysize
    const leftMs = this.#limits.timeoutMs - (change.ageMs ?? 0)
    return leftMs >= MIN_TOLD_TTL_MS && this.#admission.refusalOf(change) === undefined
  }
}

export class ChangeSender {
  readonly #stream: FrameStream
  readonly #clock: Clock
  readonly #stats: SyncStats
  readonly #pacer: Pacer
  readonly #batch = new ChangeBatch(2 * MAX_LONE_CHANGE_BYTES, NO_ORIGIN)

  constructor(stream: FrameStream, clock: Clock, stats: SyncStats) {
    this.#stream = stream
    this.#clock = clock
    this.#stats = stats
    this.#pacer = new Pacer(clock)
  }

  /** True when the frame is full, so that the next `add` sends it first. */
  get isFull(): boolean {
    return this.#batch.count >= CHANGES_PER_FRAME
  }

  async add(change: Change): Promise<void> {
    if (this.isFull || !this.#batch.add(change)) {
      await this.flush()
      this.#batch.add(change)
    }
  }

  async flush(): Promise<void> {
    const { count } = this.#batch
    if (count === 0) return
    this.#stats.entriesSent += count
    await this.#stream.send(this.#batch.take(this.#clock.wallMs()))
    await this.#pacer.pause()
  }
}

/**
 * Applies entries of a peer to the stores they belong to. Nothing is evicted for them; those of unknown caches are
 * ignored.
 */
export function applyEntries(
  message: ChangesMessage,
  stores: ReadonlyMap<string, SessionStore>,
  stats: SyncStats,
): void {
  stats.entriesReceived += message.changes.length
  for (const change of message.changes) stores.get(change.cache)?.apply(change, false)
}
