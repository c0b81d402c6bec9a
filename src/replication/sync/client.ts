// The calling side of a connection: copies a peer's caches, or compares them with its own and transfers only what
// differs, in both directions.

import type { HostAddress } from '../../base/address.ts'
import type { Clock, RandomSource } from '../../base/world.ts'
import { DIGEST_BUCKETS } from '../../store/digest.ts'
import type { SessionStore } from '../../store/session-store.ts'
import type { EntryVersion } from '../../store/stored-entries.ts'
import { compareVersions } from '../../store/versions.ts'
import type { ChangesMessage } from '../../wire/changes.ts'
import type { Keyring } from '../../wire/keyring.ts'
import {
  type Digests,
  encodeSyncFrame,
  MAX_IDS_PER_FRAME,
  type SyncFrame,
  type TraceRequest,
} from '../../wire/sync-message.ts'
import { BucketedVersions } from './bucketed-versions.ts'
import { SyncError, type SyncStats } from './stats.ts'
import { applyEntries, ChangeSender, FrameStream, Pacer, PeerAdmission } from './stream.ts'
import { HANDSHAKE_TIMEOUT_MS, handshakeReason, type SyncStreams, tlsStreams } from './tls.ts'

/** Versions of a peer that are in memory at once: buckets are compared in groups of about this many versions. */
const VERSIONS_PER_GROUP = 65_536
/** A peer that sends more versions than this for one group is disconnected. */
const MAX_VERSIONS_PER_GROUP = 4 * VERSIONS_PER_GROUP
/**
 * Buckets compared per run where both caches are full: they may differ for ever, because neither has room for what it
 * lacks.
 */
const BUCKETS_OF_FULL_CACHES = 64

export interface SyncCallerOptions {
  readonly stores: ReadonlyMap<string, SessionStore>
  readonly clock: Clock
  readonly random: RandomSource
  readonly stats: SyncStats
}

/** What the compared peer still takes. */
interface ComparedPeer {
  readonly room: Room
  readonly admission: PeerAdmission
}

/** Entries for which a store still has room. */
interface Room {
  sessions: number
  removals: number
}

export class SyncCaller {
  readonly #options: SyncCallerOptions
  readonly #stream: FrameStream
  readonly #pacer: Pacer

  constructor(options: SyncCallerOptions, stream: FrameStream) {
    this.#options = options
    this.#stream = stream
    this.#pacer = new Pacer(options.clock, () => stream.assertOpen())
  }

  /** Copies all caches; resolves with whether the peer's own join was over. Rejects with a SyncError. */
  async takeSnapshot(): Promise<boolean> {
    let isComplete = true
    for (const [cache, { limits }] of this.#options.stores) {
      const end = await this.#takeEntries({ kind: 'snapshot_request', cache, limits })
      isComplete &&= end.isComplete
    }
    this.#options.stats.snapshots += 1
    return isComplete
  }

  /** Compares all caches and makes both sides hold the same, as far as there is room. Rejects with a SyncError. */
  async compare(): Promise<void> {
    for (const store of this.#options.stores.values()) await this.#compareCache(store)
    this.#options.stats.comparisons += 1
  }

  async #compareCache(store: SessionStore): Promise<void> {
    await this.#send({ kind: 'digest_request', cache: store.limits.name })
    const digest = await this.#receive()
    if (digest.kind !== 'digest') throw unexpected(digest)
    if (digest.buckets.length === 0) return
    const differing = store.entries.digest.differingBuckets(digest.buckets)
    const buckets = this.#isFullOnBothSides(store, digest) ? this.#choose(differing) : differing
    if (buckets.length === 0) return
    const own = await BucketedVersions.of(store, this.#pacer)
    const peer = {
      room: { sessions: digest.sessionRoom, removals: digest.removalRoom },
      admission: new PeerAdmission(digest.limits),
    }
    for (const group of groupsOf(buckets, own, digest.entries / DIGEST_BUCKETS)) {
      await this.#compareBuckets(store, own, group, peer)
    }
  }

  async #compareBuckets(
    store: SessionStore,
    own: BucketedVersions,
    buckets: readonly number[],
    peer: ComparedPeer,
  ): Promise<void> {
    const theirs = await this.#takeVersions(store.limits.name, buckets)
    await this.#takeNewer(store, theirs)
    await this.#giveNewer(store, own.in(buckets), theirs, peer)
    await this.#send({ kind: 'applied_request' })
    const answer = await this.#receive()
    if (answer.kind !== 'end') throw unexpected(answer)
  }

  async #takeVersions(
    cache: string,
    buckets: readonly number[],
  ): Promise<Map<string, EntryVersion>> {
    await this.#send({ kind: 'versions_request', cache, buckets })
    const versions = new Map<string, EntryVersion>()
    for (let frame = await this.#receive(); frame.kind !== 'end'; frame = await this.#receive()) {
      if (frame.kind !== 'versions') throw unexpected(frame)
      for (const version of frame.versions) versions.set(keyOf(version.id), version)
      if (versions.size > MAX_VERSIONS_PER_GROUP)
        throw new SyncError('malformed', 'too many versions')
    }
    return versions
  }

  async #takeNewer(store: SessionStore, theirs: ReadonlyMap<string, EntryVersion>): Promise<void> {
    const { limits, entries } = store
    const room = { ...store.room }
    let ids: Buffer[] = []
    for (const { id, version, isTombstone } of theirs.values()) {
      const own = entries.versionOf(id)
      const isWanted =
        own === undefined
          ? id.length <= limits.keysize && takesRoom(room, isTombstone)
          : compareVersions(version, own) > 0
      if (!isWanted) continue
      ids.push(id)
      if (ids.length < MAX_IDS_PER_FRAME) continue
      await this.#takeEntries({ kind: 'entries_request', cache: limits.name, ids, limits })
      ids = []
    }
    if (ids.length > 0) {
      await this.#takeEntries({ kind: 'entries_request', cache: limits.name, ids, limits })
    }
  }

  async #giveNewer(
    store: SessionStore,
    own: AsyncIterable<EntryVersion>,
    theirs: ReadonlyMap<string, EntryVersion>,
    { room, admission }: ComparedPeer,
  ): Promise<void> {
    const { clock, stats } = this.#options
    const sender = new ChangeSender(this.#stream, clock, stats)
    for await (const { id, version, isTombstone } of own) {
      const known = theirs.get(keyOf(id))
      if (known !== undefined && compareVersions(version, known.version) <= 0) continue
      const isRoomNeeded = known === undefined
      if (isRoomNeeded && !hasRoom(room, isTombstone)) continue
      const change = store.entries.changeOf(id)
      if (change === undefined || !admission.takes(change)) continue
      if (isRoomNeeded) takesRoom(room, isTombstone)
      await sender.add(change)
    }
    await sender.flush()
  }

  /** Sends a request, applies the changes that answer it, and resolves with the End frame. */
  async #takeEntries(request: SyncFrame & { kind: 'snapshot_request' | 'entries_request' }) {
    const { stores, stats } = this.#options
    await this.#send(request)
    let frame = await this.#receive()
    for (; frame.kind === 'changes'; frame = await this.#receive()) {
      applyEntries(frame, stores, stats)
      if (this.#pacer.isOver) await this.#pacer.pause()
    }
    if (frame.kind !== 'end') throw unexpected(frame)
    return frame
  }

  #isFullOnBothSides({ room }: SessionStore, digest: Digests): boolean {
    return room.sessions === 0 && digest.sessionRoom === 0
  }

  /** BUCKETS_OF_FULL_CACHES of these buckets in a row, from a random one on. */
  #choose(buckets: readonly number[]): number[] {
    const start = this.#options.random(4).readUInt32LE() % Math.max(1, buckets.length)
    return [...buckets.slice(start), ...buckets.slice(0, start)].slice(0, BUCKETS_OF_FULL_CACHES)
  }

  #send(frame: Exclude<SyncFrame, ChangesMessage>): Promise<void> {
    return this.#stream.send(encodeSyncFrame(frame))
  }

  async #receive(): Promise<SyncFrame> {
    const frame = await this.#stream.receive()
    if (frame === undefined) throw new SyncError('broken', 'the peer ended the connection')
    return frame
  }
}

/** Asks the peer what it says of itself; resolves with the JSON of its summary. Rejects with a SyncError. */
export function askSummary(stream: FrameStream): Promise<Buffer> {
  return askDocument(stream, { kind: 'summary_request' }, 'summary')
}

/** Asks the peer where a session is; resolves with its trace in JSON. Rejects with a SyncError. */
export function askTrace(stream: FrameStream, asked: Omit<TraceRequest, 'kind'>): Promise<Buffer> {
  return askDocument(stream, { kind: 'trace_request', ...asked }, 'trace')
}

async function askDocument(
  stream: FrameStream,
  request: Exclude<SyncFrame, ChangesMessage>,
  kind: 'summary' | 'trace',
): Promise<Buffer> {
  await stream.send(encodeSyncFrame(request))
  const frame = await stream.receive()
  if (frame === undefined) throw new SyncError('broken', 'the peer ended the connection')
  if (frame.kind !== kind) throw unexpected(frame)
  return frame.document
}

/**
 * Divides the buckets into groups of about VERSIONS_PER_GROUP versions. Of the peer only the average number per bucket
 * is known.
 */
function* groupsOf(
  buckets: readonly number[],
  own: BucketedVersions,
  peerAverage: number,
): Generator<number[]> {
  let group: number[] = []
  let versions = 0
  for (const bucket of buckets) {
    const count = Math.max(peerAverage, own.countIn(bucket))
    if (group.length > 0 && versions + count > VERSIONS_PER_GROUP) {
      yield group
      group = []
      versions = 0
    }
    group.push(bucket)
    versions += count
  }
  yield group
}

function hasRoom(room: Room, isTombstone: boolean): boolean {
  return (isTombstone ? room.removals : room.sessions) > 0
}

/** Takes room for one more entry; false when there is none. */
function takesRoom(room: Room, isTombstone: boolean): boolean {
  if (!hasRoom(room, isTombstone)) return false
  room[isTombstone ? 'removals' : 'sessions'] -= 1
  return true
}

/** The ID as a map key, one character per byte. */
function keyOf(id: Buffer): string {
  return id.toString('latin1')
}

function unexpected(frame: SyncFrame): SyncError {
  return new SyncError('malformed', `${frame.kind} is no answer`)
}

// Connects to a peer over TCP and proves to have the primary key of the keyring.

/**
 * Connects to a peer; resolves when both sides have proved the key. Rejects with a SyncError, at once when `signal`
 * aborts.
 */
export function connectSync(
  address: HostAddress,
  keyring: Keyring,
  clock: Clock,
  signal?: AbortSignal,
  streams: SyncStreams = tlsStreams,
): Promise<FrameStream> {
  return new Promise((resolve, reject) => {
    const socket = streams.connect(address, keyring)
    const fail = (reason: string) => {
      finish()
      socket.destroy()
      reject(new SyncError('handshake', reason))
    }
    const timer = clock.after(HANDSHAKE_TIMEOUT_MS, () => fail('no handshake in time'))
    const abort = () => fail('stopped')
    const finish = () => {
      timer.cancel()
      signal?.removeEventListener('abort', abort)
    }
    signal?.addEventListener('abort', abort)
    socket.on('error', (error) => fail(handshakeReason(error)))
    socket.on('close', () => fail('closed during the handshake'))
    socket.once('secureConnect', () => {
      // Within this event OpenSSL may still be in its handshake, and Node.js copies what is written until it is over.
      clock.soon(() => {
        if (socket.destroyed) return
        finish()
        socket.removeAllListeners('close')
        resolve(new FrameStream(socket, clock))
      })
    })
  })
}
