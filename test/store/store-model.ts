// The trivial model that the store is held against: plain objects, no cleverness.

import { BUCKET_MS } from '../../src/store/expiry.ts'
import { compareVersions, type Version } from '../../src/store/versions.ts'

export interface ModelLimits {
  readonly items: number
  readonly keysize: number
  readonly blocksize: number
  readonly timeoutMs: number
  readonly contexts: readonly string[] | undefined
  readonly full: 'evict' | 'refuse'
}

export interface ModelEntry {
  readonly id: string
  readonly context: string
  readonly serverName: string
  readonly session: string
  readonly version: Version
  readonly expiresAtMs: number
  readonly isTombstone: boolean
  /** Position in the order of writing: within one bucket, what was written last expires first. */
  readonly written: number
}

/** Strings stand for bytes, one character a byte. */
export class StoreModel {
  /** Least recently used first. */
  sessions: ModelEntry[] = []
  /** Oldest first. */
  tombstones: ModelEntry[] = []
  evicted = 0
  expired = 0
  readonly #limits: ModelLimits
  #written = 0

  constructor(limits: ModelLimits) {
    this.#limits = limits
  }

  get(nowMs: number, id: string, context: string, serverName: string | undefined): string {
    const entry = this.sessions.find((one) => one.id === id)
    if (entry === undefined) return 'miss'
    if (entry.expiresAtMs <= nowMs) {
      this.#expire(entry)
      return 'expired'
    }
    this.sessions = [...this.sessions.filter((one) => one !== entry), entry]
    if (entry.context !== context) return 'context_mismatch'
    if (serverName !== undefined && entry.serverName !== serverName) return 'context_mismatch'
    return `hit ${entry.session}`
  }

  put(nowMs: number, ttlMs: number, entry: Omit<ModelEntry, 'expiresAtMs' | 'written'>): string {
    const refusal = this.#refusal(entry, ttlMs)
    if (refusal !== undefined) return refusal
    const old = this.#live(nowMs, entry.id)
    if (old !== undefined && old.context !== entry.context) return 'context'
    if (old === undefined && !this.#makeRoom(nowMs)) return 'full'
    this.#write(nowMs, ttlMs, entry)
    return old === undefined ? 'stored' : 'replaced'
  }

  remove(nowMs: number, id: string, context: string, version: Version): boolean {
    if (id.length === 0 || id.length > this.#limits.keysize) return false
    const old = this.sessions.find((one) => one.id === id)
    if (old !== undefined && old.context !== context) return false
    this.#bury(nowMs, this.#limits.timeoutMs, id, version)
    return old !== undefined && old.expiresAtMs > nowMs
  }

  applyPut(
    nowMs: number,
    ttlMs: number,
    entry: Omit<ModelEntry, 'expiresAtMs' | 'written'>,
  ): string {
    if (this.#isOutdated(entry.id, entry.version)) return 'outdated'
    if (this.#refusal(entry, ttlMs) !== undefined) return this.#refuse(entry.id)
    const hasRoom = this.#live(nowMs, entry.id) !== undefined || this.#makeRoom(nowMs)
    if (!hasRoom) return this.#refuse(entry.id)
    this.#write(nowMs, ttlMs, entry)
    return 'applied'
  }

  applyRemove(nowMs: number, ttlMs: number, id: string, version: Version): string {
    if (this.#isOutdated(id, version)) return 'outdated'
    if (id.length === 0 || id.length > this.#limits.keysize) return 'refused'
    this.#bury(nowMs, ttlMs, id, version)
    return 'applied'
  }

  sweep(nowMs: number): void {
    for (const entry of this.#sweepable(nowMs, false)) this.#sweepEntry(entry)
  }

  #refusal(entry: Omit<ModelEntry, 'expiresAtMs' | 'written'>, ttlMs: number): string | undefined {
    const { keysize, blocksize, contexts } = this.#limits
    if (entry.id.length === 0 || entry.id.length > keysize) return 'keysize'
    if (entry.session.length === 0 || entry.session.length > blocksize) return 'blocksize'
    if (contexts !== undefined && !contexts.includes(entry.context)) return 'context'
    return ttlMs > 0 ? undefined : 'expired'
  }

  /** What a refused change replaces goes all the same. */
  #refuse(id: string): 'refused' {
    this.sessions = this.sessions.filter((one) => one.id !== id)
    return 'refused'
  }

  #isOutdated(id: string, version: Version): boolean {
    const known = [...this.sessions, ...this.tombstones].find((one) => one.id === id)
    return known !== undefined && compareVersions(version, known.version) <= 0
  }

  #live(nowMs: number, id: string): ModelEntry | undefined {
    const entry = this.sessions.find((one) => one.id === id)
    if (entry === undefined || entry.expiresAtMs > nowMs) return entry
    this.#expire(entry)
    return undefined
  }

  #makeRoom(nowMs: number): boolean {
    const isRefusing = this.#limits.full === 'refuse'
    while (this.sessions.length === this.#limits.items) {
      const [sweepable] = this.#sweepable(nowMs, isRefusing)
      if (sweepable !== undefined) this.#sweepEntry(sweepable)
      else if (isRefusing) return false
      else {
        this.sessions.shift()
        this.evicted += 1
      }
    }
    return true
  }

  #sweepable(nowMs: number, isExact: boolean): ModelEntry[] {
    const bucketOf = (ms: number) => Math.floor(ms / BUCKET_MS)
    return [...this.sessions, ...this.tombstones]
      .filter((one) => one.expiresAtMs <= nowMs)
      .filter((one) => isExact || bucketOf(one.expiresAtMs) < bucketOf(nowMs))
      .sort((a, b) => bucketOf(a.expiresAtMs) - bucketOf(b.expiresAtMs) || a.written - b.written)
  }

  #sweepEntry(entry: ModelEntry): void {
    if (entry.isTombstone) this.tombstones = this.tombstones.filter((one) => one !== entry)
    else this.#expire(entry)
  }

  #expire(entry: ModelEntry): void {
    this.sessions = this.sessions.filter((one) => one !== entry)
    this.expired += 1
  }

  #write(nowMs: number, ttlMs: number, entry: Omit<ModelEntry, 'expiresAtMs' | 'written'>): void {
    this.tombstones = this.tombstones.filter((one) => one.id !== entry.id)
    this.sessions = this.sessions.filter((one) => one.id !== entry.id)
    this.sessions.push(this.#dated(nowMs, ttlMs, entry))
  }

  #bury(nowMs: number, ttlMs: number, id: string, version: Version): void {
    this.sessions = this.sessions.filter((one) => one.id !== id)
    this.tombstones = this.tombstones.filter((one) => one.id !== id)
    if (this.tombstones.length === this.#limits.items) this.tombstones.shift()
    const fields = { id, context: '', serverName: '', session: '', version, isTombstone: true }
    this.tombstones.push(this.#dated(nowMs, ttlMs, fields))
  }

  #dated(
    nowMs: number,
    ttlMs: number,
    entry: Omit<ModelEntry, 'expiresAtMs' | 'written'>,
  ): ModelEntry {
    this.#written += 1
    const expiresAtMs = nowMs + Math.min(ttlMs, this.#limits.timeoutMs)
    return { ...entry, expiresAtMs, written: this.#written }
  }
}
