// The called side of a connection: answers one request after the other until the caller ends it.

import type { Clock } from '../base/clock.ts'
import type { SessionStore } from '../store/session-store.ts'
import type { EntryVersion } from '../store/stored-entries.ts'
import {
  type EntriesRequest,
  encodeSyncFrame,
  MAX_IDS_PER_FRAME,
  type SyncFrame,
  type ToldLimits,
} from '../wire/sync-message.ts'
import { BucketedVersions } from './bucketed-versions.ts'
import { applyEntries, ChangeSender, PeerAdmission } from './change-frames.ts'
import type { FrameStream } from './frame-stream.ts'
import { Pacer } from './pacer.ts'
import { SyncError, type SyncStats } from './sync-stats.ts'

export interface SyncResponderOptions {
  readonly stores: ReadonlyMap<string, SessionStore>
  /** Whether this node's own join is over; as long as it is not, its stores are no full copy. */
  readonly isComplete: () => boolean
  readonly clock: Clock
  readonly stats: SyncStats
}

type VersionsRequest = SyncFrame & { readonly kind: 'versions_request' }

const NO_BUCKETS = Buffer.alloc(0)

export class SyncResponder {
  readonly #options: SyncResponderOptions

  constructor(options: SyncResponderOptions) {
    this.#options = options
  }

  /** Serves one connection; resolves when the caller ended it, rejects with a SyncError when it is of no more use. */
  async serve(stream: FrameStream): Promise<void> {
    const pacer = new Pacer(this.#options.clock)
    const versions = new Map<string, BucketedVersions>()
    for (let frame = await stream.receive(); frame !== undefined; frame = await stream.receive()) {
      await this.#answer(stream, frame, versions)
      // The next frame may have arrived already, and would be served before anything else gets a turn.
      if (pacer.isOver) await pacer.pause()
    }
  }

  /** Answers one frame. `versions` has the walks of this connection by name of the cache. */
  async #answer(
    stream: FrameStream,
    frame: SyncFrame,
    versions: Map<string, BucketedVersions>,
  ): Promise<void> {
    const { stores, clock, stats } = this.#options
    switch (frame.kind) {
      case 'changes':
        return applyEntries(frame, stores, stats)
      case 'applied_request':
        return stream.send(encodeSyncFrame({ kind: 'end', isComplete: true }))
      case 'snapshot_request':
        await this.#sendSnapshot(
          new ChangeSender(stream, clock, stats),
          stores.get(frame.cache),
          frame.limits,
        )
        break
      case 'digest_request':
        // A new comparison begins: the walk of the last one is out of date.
        versions.delete(frame.cache)
        return stream.send(encodeSyncFrame(digestOf(stores.get(frame.cache))))
      case 'versions_request':
        await this.#sendVersions(stream, frame, versions)
        break
      case 'entries_request':
        await this.#sendEntries(new ChangeSender(stream, clock, stats), frame)
        break
      case 'digest':
      case 'versions':
      case 'end':
        throw new SyncError('malformed', 'an answer to nothing')
    }
    await stream.send(encodeSyncFrame({ kind: 'end', isComplete: this.#options.isComplete() }))
  }

  async #sendSnapshot(
    sender: ChangeSender,
    store: SessionStore | undefined,
    limits: ToldLimits | undefined,
  ): Promise<void> {
    if (store === undefined) return
    const admission = new PeerAdmission(limits)
    for (const slot of store.entries.slots()) {
      // Flushed before the entry is read, because the entry may be removed while this waits.
      if (sender.isFull) await sender.flush()
      const change = store.entries.changeAt(slot)
      if (change !== undefined && admission.takes(change)) await sender.add(change)
    }
    await sender.flush()
  }

  async #sendVersions(
    stream: FrameStream,
    { cache, buckets }: VersionsRequest,
    known: Map<string, BucketedVersions>,
  ): Promise<void> {
    const { stores, clock } = this.#options
    const store = stores.get(cache)
    if (store === undefined) return
    const pacer = new Pacer(clock, () => stream.assertOpen())
    const all = known.get(cache) ?? (await BucketedVersions.of(store, pacer))
    known.set(cache, all)
    let versions: EntryVersion[] = []
    for await (const version of all.in(new Set(buckets))) {
      versions.push(version)
      if (versions.length < MAX_IDS_PER_FRAME) continue
      await stream.send(encodeSyncFrame({ kind: 'versions', versions }))
      versions = []
    }
    if (versions.length > 0) await stream.send(encodeSyncFrame({ kind: 'versions', versions }))
  }

  async #sendEntries(sender: ChangeSender, { cache, ids, limits }: EntriesRequest): Promise<void> {
    const store = this.#options.stores.get(cache)
    const admission = new PeerAdmission(limits)
    for (const id of ids) {
      const change = store?.entries.changeOf(id)
      if (change !== undefined && admission.takes(change)) await sender.add(change)
    }
    await sender.flush()
  }
}

function digestOf(store: SessionStore | undefined): SyncFrame & { readonly kind: 'digest' } {
  if (store === undefined) {
    return { kind: 'digest', buckets: NO_BUCKETS, entries: 0, sessionRoom: 0, removalRoom: 0 }
  }
  const { items, tombstones } = store.stats
  const { sessions, removals } = store.room
  return {
    kind: 'digest',
    buckets: store.entries.digest.toBytes(),
    entries: items + tombstones,
    sessionRoom: sessions,
    removalRoom: removals,
    limits: store.limits,
  }
}
