// One named cache: a store of sessions with limits and lifetimes that knows no network. It reports every change to
// `onChange`; changes of other nodes come in through `apply`.

import { zeros } from '../base/counters.ts'
import type { Clock, Logger } from '../base/world.ts'
import { Arena } from './arena.ts'
import { ContextlessReads } from './contextless-reads.ts'
import { Expiry } from './expiry.ts'
import type { Followed } from './followed.ts'
import { arenaBudgetBytes, type CacheLimits } from './limits.ts'
import { largestRecordBytes, RecordReader, type RecordStamp, writeRecord } from './record.ts'
import { Refusals, type RefusedSession } from './refusals.ts'
import { Admission, type NewSession, Room } from './room.ts'
import { SessionIndex } from './session-index.ts'
import type { StoredSession } from './session-view.ts'
import { Sharding } from './sharding.ts'
import {
  type ApplyResult,
  CACHE_COUNTERS,
  type CacheStats,
  type GetResult,
  isRefusal,
  type PutResult,
  type RefusalReason,
} from './stats.ts'
import { StoredEntries } from './stored-entries.ts'
import {
  type Change,
  type ChangeListener,
  compareVersions,
  MAX_PUT_CLOCK,
  MAX_VERSION_CLOCK,
  type Version,
  type VersionClock,
} from './versions.ts'

export interface StoreOptions {
  readonly clock: Clock
  readonly versions: VersionClock
  /** Number of this boot of the node in the versions of its changes. */
  readonly origin: number
  /** At least 16 unpredictable bytes, for the hash of session IDs in the index. */
  readonly seed: Uint8Array
  /** Logs refusals; silent by default. */
  readonly logger?: Logger
  readonly followed?: Followed
}

const NO_SESSION = { context: Buffer.alloc(0), serverName: '', session: Buffer.alloc(0) }

export class SessionStore {
  readonly limits: CacheLimits
  readonly stats: CacheStats = zeros(CACHE_COUNTERS)
  /** The entries held, tombstones included, for comparison with other nodes. */
  readonly entries: StoredEntries
  /** Reads that compare no context, for protocols that know none. */
  readonly contextless: ContextlessReads
  onChange: ChangeListener = () => {}
  readonly #clock: Clock
  readonly #versions: VersionClock
  readonly #origin: number
  readonly #arena: Arena
  readonly #expiry: Expiry
  readonly #index: SessionIndex
  readonly #tombstones: SessionIndex
  readonly #record: RecordReader
  readonly #admission: Admission
  readonly #refusals: Refusals
  readonly #room: Room
  readonly #followed: Followed | undefined

  constructor(limits: CacheLimits, options: StoreOptions) {
    this.limits = limits
    this.#clock = options.clock
    this.#versions = options.versions
    this.#origin = options.origin
    this.#followed = options.followed
    this.#admission = new Admission(limits)
    this.#refusals = new Refusals(limits, this.stats, options)
    const sharding = new Sharding(limits.items, options.seed)
    const holdsId = (slot: number, id: Uint8Array) => this.#record.open(slot).hasId(id)
    this.#index = new SessionIndex(sharding, 0, {
      holdsId,
      onLeave: (slot, isEvicted) => {
        if (isEvicted) this.#countEviction(slot)
        this.#releaseSession(slot)
      },
    })
    this.#tombstones = new SessionIndex(sharding, this.#index.endSlot, {
      holdsId,
      onLeave: (slot) => this.#release(slot),
    })
    const slots = this.#tombstones.endSlot
    this.#arena = new Arena(slots, largestRecordBytes(limits), arenaBudgetBytes(limits))
    this.#record = new RecordReader(this.#arena)
    const [index, tombstones, arena] = [this.#index, this.#tombstones, this.#arena]
    const sweepOne = (isExact: boolean) => this.sweepOne(isExact)
    this.#room = new Room({ limits, index, tombstones, arena, sweepOne })
    const expiresAtMs = (slot: number) => this.#record.open(slot).expiresAtMs
    const { clock } = options
    const expiry = new Expiry(slots, limits.timeoutMs, clock.monotonicMs(), expiresAtMs)
    this.#expiry = expiry
    const find = (id: Uint8Array) => index.find(id) ?? tombstones.find(id)
    this.entries = new StoredEntries({ cache: limits.name, arena, expiry, clock, find })
    const expire = (id: Uint8Array) => {
      this.#expire(id)
      this.#account()
    }
    const record = this.#record
    this.contextless = new ContextlessReads({
      index,
      arena,
      record,
      clock,
      stats: this.stats,
      expire,
    })
  }

  /** How many more sessions or removals can be copied from another node before the cache is full, perhaps estimated. */
  get room(): { readonly sessions: number; readonly removals: number } {
    return this.#room.left
  }

  /**
   * Returns the session with this ID, if it was made under this session ID context and server name (undefined: any), or
   * why not. Counts the result. The session with this ID becomes the most recently used, also when its context is
   * another one. `nowMs` is the time of the store's monotonic clock, for a caller that has read it already.
   */
  get(
    id: Uint8Array,
    context: Uint8Array,
    serverName?: string,
    nowMs = this.#clock.monotonicMs(),
  ): StoredSession | Exclude<GetResult, 'hit'> {
    const found = this.#find(id, context, serverName, nowMs)
    if (typeof found === 'string') this.stats.gets[found] += 1
    else this.stats.gets.hit += 1
    return found
  }

  /** Stores a session or returns why it is refused, which leaves what its ID had before (but for `version`). */
  put(entry: NewSession): PutResult {
    const result = this.#put(entry)
    if (isRefusal(result)) return this.refuse(result, entry)
    this.stats.puts[result] += 1
    return result
  }

  /** Counts and logs a caller's put that is refused, and returns the reason. */
  refuse(reason: RefusalReason, refused: RefusedSession): RefusalReason {
    return this.#refusals.count('local', reason, refused)
  }

  /**
   * Removes a session from all nodes and returns whether a live one was here. One that is not here is removed from the
   * other nodes nevertheless, as it may have been evicted here; one under another context stays everywhere.
   */
  remove(id: Uint8Array, context: Uint8Array): boolean {
    if (id.length === 0 || id.length > this.limits.keysize) return false
    const slot = this.#index.find(id)
    if (slot !== undefined && !this.#record.open(slot).hasContext(context)) {
      this.stats.gets.context_mismatch += 1
      return false
    }
    const nowMs = this.#clock.monotonicMs()
    const isLive = slot !== undefined && this.#record.open(slot).expiresAtMs > nowMs
    this.#remove(id, this.#versions.nextFor(id, this.entries, nowMs), nowMs)
    if (isLive) this.stats.removes += 1
    return isLive
  }

  /**
   * Takes over a change of another node, unless one at least as new is known for its ID. `isLive` false marks a copy of
   * an entry that the other node holds: a new ID is then refused where it would evict something. When a change is
   * refused, the session that it would have replaced is taken out.
   */
  apply(change: Change, isLive = true): ApplyResult {
    const outcome = this.#apply(change, isLive)
    const isRefused = outcome !== 'applied' && outcome !== 'outdated'
    if (isRefused) {
      this.#refusals.count('peer', outcome, change)
      // The session held under this ID is older, and the other nodes have replaced it.
      this.#index.delete(change.id)
      this.#account()
    }
    const result = isRefused ? 'refused' : outcome
    this.stats.applied[result] += 1
    if (result === 'applied') this.onChange(change, 'peer')
    return result
  }

  /** Takes out one expired entry; false when there is none. `isExact` looks into the current bucket of time, too. */
  sweepOne(isExact = false): boolean {
    const slot = this.#expiry.nextExpired(this.#clock.monotonicMs(), isExact)
    if (slot === undefined) return false
    const record = this.#record.open(slot)
    const id = record.copyId()
    if (record.isTombstone) this.#tombstones.delete(id)
    else this.#expire(id)
    this.#account()
    return true
  }

  #find(
    id: Uint8Array,
    context: Uint8Array,
    serverName: string | undefined,
    nowMs: number,
  ): StoredSession | Exclude<GetResult, 'hit'> {
    const slot = this.#index.use(id)
    if (slot === undefined) return 'miss'
    const record = this.#record.open(slot)
    const ttlMs = record.expiresAtMs - nowMs
    if (ttlMs <= 0) {
      this.#expire(id)
      this.#account()
      return 'expired'
    }
    if (!record.hasContext(context)) return 'context_mismatch'
    if (serverName !== undefined && !record.hasServerName(serverName)) return 'context_mismatch'
    return { session: record.copySession(), ttlMs }
  }

  #put(entry: NewSession): PutResult {
    const refusal = this.#admission.refusalOf(entry)
    if (refusal !== undefined) return refusal
    const nowMs = this.#clock.monotonicMs()
    const held = this.#liveSlot(this.#index.find(entry.id), entry.id, nowMs)
    if (held !== undefined && !this.#record.open(held).hasContext(entry.context)) return 'context'
    const old = this.#room.forSession(entry, held, true)
    if (old === 'full') return 'full'
    const clock = this.#versions.nextFor(entry.id, this.entries, nowMs)
    if (clock > MAX_PUT_CLOCK) {
      this.#remove(entry.id, clock, nowMs)
      return 'version'
    }
    const version = { clock, origin: this.#origin }
    const ttlMs = Math.min(entry.ttlMs, this.limits.timeoutMs)
    this.#insert(entry, { version, expiresAtMs: nowMs + ttlMs, lifetimeMs: ttlMs }, old, nowMs)
    const { id, context, serverName, session } = entry
    const cache = this.limits.name
    this.onChange({ kind: 'put', cache, id, context, serverName, session, ttlMs, version }, 'local')
    return old === undefined ? 'stored' : 'replaced'
  }

  /** Removes what is held under this ID, on all nodes; a removal with the largest clock stays as it is. */
  #remove(id: Uint8Array, clock: number, nowMs: number): void {
    if (clock === MAX_VERSION_CLOCK && this.entries.versionOf(id)?.clock === clock) return
    const version = { clock, origin: this.#origin }
    const ttlMs = this.limits.timeoutMs
    this.#bury(id, version, ttlMs, nowMs)
    this.onChange({ kind: 'remove', cache: this.limits.name, id, ttlMs, version }, 'local')
  }

  #apply(change: Change, isLive: boolean): 'applied' | 'outdated' | RefusalReason {
    this.#versions.observe(change.version.clock)
    const held = this.#index.find(change.id)
    const known = held ?? this.#tombstones.find(change.id)
    if (known !== undefined) {
      const isNewer = compareVersions(change.version, this.#record.open(known).version) > 0
      if (!isNewer) return 'outdated'
    }
    if (change.id.length === 0 || change.id.length > this.limits.keysize) return 'keysize'
    // The timeout counts from the put: otherwise a peer with a longer one would send it again each time it expired.
    const ageMs = (change.kind === 'put' && change.ageMs) || 0
    const ttlMs = Math.min(change.ttlMs, this.limits.timeoutMs - ageMs)
    if (ttlMs <= 0) return 'expired'
    const nowMs = this.#clock.monotonicMs()
    if (change.kind === 'remove') {
      if (known === undefined && !isLive && !this.#room.hasRoomForTombstone(change.id))
        return 'full'
      this.#bury(change.id, change.version, ttlMs, nowMs)
      return 'applied'
    }
    const refusal = this.#admission.refusalOf(change)
    if (refusal !== undefined) return refusal
    const live = this.#liveSlot(held, change.id, nowMs)
    const old = this.#room.forSession(change, live, isLive)
    if (old === 'full') return 'full'
    const { version } = change
    const stamp = { version, expiresAtMs: nowMs + ttlMs, lifetimeMs: ageMs + ttlMs }
    this.#insert(change, stamp, old, nowMs)
    return 'applied'
  }

  /** Returns `slot`, which holds this ID, if its session is live; takes out an expired session. */
  #liveSlot(slot: number | undefined, id: Uint8Array, nowMs: number): number | undefined {
    if (slot === undefined || this.#record.open(slot).expiresAtMs > nowMs) return slot
    this.#expire(id)
    return undefined
  }

  #insert(entry: NewSession, stamp: RecordStamp, old: number | undefined, nowMs: number): void {
    const slot = old ?? this.#index.claim(entry.id)
    if (old !== undefined) {
      this.#index.use(entry.id)
      this.#releaseSession(old)
    }
    writeRecord(this.#arena, slot, entry, stamp)
    this.#expiry.add(slot)
    this.entries.toggle(slot)
    this.stats.storedBytes += entry.session.length
    this.stats.changedWallMs = this.#versions.wallMs(nowMs)
    this.#tombstones.delete(entry.id)
    this.#account()
  }

  #bury(id: Uint8Array, version: Version, ttlMs: number, nowMs: number): void {
    this.#index.delete(id)
    this.#room.forTombstone(id)
    const slot = this.#tombstones.claimAnew(id, this.limits.items)
    const stamp = { version, expiresAtMs: nowMs + ttlMs, lifetimeMs: 0 }
    writeRecord(this.#arena, slot, { ...NO_SESSION, id }, stamp, true)
    this.#expiry.add(slot)
    this.entries.toggle(slot)
    this.stats.changedWallMs = this.#versions.wallMs(nowMs)
    this.#account()
  }

  #expire(id: Uint8Array): void {
    this.#index.delete(id)
    this.stats.expired += 1
    if (this.#followed?.isActive) this.#followed.noteEnding(id, this.limits.name, 'expire')
  }

  #countEviction(slot: number): void {
    this.stats.evicted += 1
    if (!this.#followed?.isActive) return
    this.#followed.noteEnding(this.#record.open(slot).copyId(), this.limits.name, 'evict')
  }

  #releaseSession(slot: number): void {
    this.stats.storedBytes -= this.#record.open(slot).sessionBytes
    this.#release(slot)
  }

  #release(slot: number): void {
    this.entries.toggle(slot)
    this.#expiry.delete(slot)
    this.#arena.free(slot)
  }

  #account(): void {
    this.stats.items = this.#index.size
    this.stats.tombstones = this.#tombstones.size
    this.stats.arenaBytes = this.#arena.pageBytes
  }
}
