// Carries out memcached's commands, of the text and the binary protocol, on the hooks of one cache.

import type { Clock } from '../../base/world.ts'
import type { ContextlessHooks } from '../../hooks/contextless-hooks.ts'
import { isSameBytes, tryReadEncodedSession } from '../../session/encoded-session.ts'
import type { Lookup, Lookups } from '../../store/lookups.ts'
import { type PeekedSession, SessionView } from '../../store/session-view.ts'
import type { PutResult } from '../../store/stats.ts'
import type { Version } from '../../store/versions.ts'
import { type EntryKey, type KeyForm, MIN_SPELLED_BYTES, spelledIds, toSessionKey } from './keys.ts'
import type { MemcachedStats } from './stats.ts'
import { type Entry, fromStored, readView, toStored, toStoredValue, type Value } from './values.ts'

/** What is stored already, for a command that changes it. */
export interface OldEntry extends Value {
  readonly ttlMs: number
  readonly version: Version
}

/** A value with the key it is written under. */
type KeyedValue = Value & { readonly key: Buffer }

export type Refusal = Exclude<PutResult, 'stored' | 'replaced'>
/** `not_stored`: add found an entry, or replace, append or prepend found none. `exists`: the token differs. */
export type WriteResult = 'stored' | 'not_stored' | 'not_found' | 'exists' | Refusal

export type WriteMode = 'set' | 'add' | 'replace' | 'append' | 'prepend'

export interface Write {
  readonly mode: WriteMode
  readonly key: Buffer
  /** Client flags. For append and prepend, flags and expiry are ignored: both stay as they are. */
  readonly flags: number
  /** Expiration time of memcached: 0 the longest lifetime, above 30 days an absolute time, negative in the past. */
  readonly expirySec: number
  readonly data: Buffer
  /** The write is done only if this is the token of the stored entry. */
  readonly cas?: bigint | undefined
}

export interface Arithmetic {
  readonly key: Buffer
  readonly direction: 'increment' | 'decrement'
  /** 0 <= delta < 2^64 */
  readonly delta: bigint
  readonly cas?: bigint | undefined
  /** What to store when there is no entry; undefined stores nothing then. */
  readonly initial?: { readonly value: bigint; readonly expirySec: number } | undefined
}

export type ArithmeticResult = bigint | 'non_numeric' | Exclude<WriteResult, 'stored'>

const U64 = 2n ** 64n
const DECIMAL = /^\d{1,20}$/
const CLOCK_SHIFT = 12n
const ORIGIN_MASK = 0xfffn

/** Returns the token of `gets` and `cas`: the version's clock, then the low 12 bits of its origin. Never 0. */
export function casTokenOf(version: Version): bigint {
  return (BigInt(version.clock) << CLOCK_SHIFT) | (BigInt(version.origin) & ORIGIN_MASK)
}

export class Entries {
  readonly #hooks: ContextlessHooks
  readonly #clock: Clock
  readonly #stats: MemcachedStats
  readonly #found: Entry = { flags: 0, value: new SessionView() }

  constructor(hooks: ContextlessHooks, clock: Clock, stats: MemcachedStats) {
    this.#hooks = hooks
    this.#clock = clock
    this.#stats = stats
  }

  /** Returns one shared object, overwritten by the next get; undefined is a miss. */
  get(key: Buffer): Entry | undefined {
    this.#stats.gets += 1
    const sessionKey = toSessionKey(key) ?? this.#spelledKeyOf(key)
    const found = this.#hooks.getAny(sessionKey?.id ?? key)
    if (found === undefined) return undefined
    this.#stats.getHits += 1
    return readView(sessionKey?.form ?? 'plain', found, this.#found)
  }

  /** Returns lookups for gets that are carried out together and whose IDs are parts of `bytes`. */
  lookupsIn(bytes: Buffer): Lookups {
    return this.#hooks.lookupsIn(bytes)
  }

  /** Gets the entry of an ID that was added to `lookups`, in the object that `get` returns. `form` is of its key. */
  getFound(lookups: Lookups, lookup: Lookup, form: KeyForm): Entry | undefined {
    this.#stats.gets += 1
    const found = this.#hooks.getFound(lookups, lookup)
    if (found === undefined) return undefined
    this.#stats.getHits += 1
    return readView(form, found, this.#found)
  }

  getAndTouch(key: Buffer, expirySec: number): Entry | undefined {
    // An expiry in the past removes the entry, but this command still returns it.
    const ttlMs = this.#ttlMs(expirySec)
    const isPast = ttlMs !== undefined && ttlMs <= 0
    if (!isPast) this.touch(key, expirySec)
    const entry = this.get(key)
    if (entry === undefined || !isPast) return entry
    const last = { flags: entry.flags, value: entry.value.detached() }
    this.touch(key, expirySec)
    return last
  }

  touch(key: Buffer, expirySec: number): boolean {
    this.#stats.touches += 1
    const entryKey = this.#entryKeyOf(key)
    const { id } = entryKey
    const ttlMs = this.#ttlMs(expirySec)
    const isPast = ttlMs !== undefined && ttlMs <= 0
    const isThere = isPast ? this.#remove(key, entryKey) : this.#hooks.touchAny(id, ttlMs)
    if (isThere === undefined || isThere === false) return false
    this.#stats.touchHits += 1
    return true
  }

  write(write: Write): WriteResult {
    this.#stats.puts += 1
    const entryKey = this.#entryKeyOf(write.key)
    const barrier = this.#barrierOf(write, entryKey)
    if (barrier !== undefined) return barrier
    if (write.mode === 'append' || write.mode === 'prepend') return this.#concat(write, entryKey)
    return this.#put(entryKey, write, this.#ttlMs(write.expirySec))
  }

  /** Counts a write whose value is larger than any that the cache takes and was not read. */
  refuseTooLarge(valueBytes: number): Refusal {
    this.#stats.puts += 1
    this.#stats.refused += 1
    this.#hooks.refuse('blocksize', { sessionBytes: valueBytes })
    return 'blocksize'
  }

  arithmetic(request: Arithmetic): ArithmeticResult {
    const result = this.#arithmetic(request)
    const isHit = typeof result === 'bigint'
    if (request.direction === 'increment') {
      this.#stats.increments += 1
      if (isHit) this.#stats.incrementHits += 1
    } else {
      this.#stats.decrements += 1
      if (isHit) this.#stats.decrementHits += 1
    }
    return result
  }

  remove(key: Buffer, cas?: bigint): 'removed' | 'not_found' | 'exists' {
    this.#stats.removes += 1
    const entryKey = this.#entryKeyOf(key)
    const mismatch = cas === undefined ? undefined : this.#compare(entryKey.id, cas)
    if (mismatch !== undefined) return mismatch
    if (!this.#remove(key, entryKey)) return 'not_found'
    this.#stats.removeHits += 1
    return 'removed'
  }

  /** Returns what is stored under this key; it counts as no get, and recency stays as it is. */
  peek(key: Buffer): OldEntry | undefined {
    return this.#peek(this.#entryKeyOf(key))
  }

  /** Returns the token of what is stored under this key; 0 when nothing is stored. */
  casToken(key: Buffer): bigint {
    const version = this.#hooks.versionOf(this.#entryKeyOf(key).id)
    return version === undefined ? 0n : casTokenOf(version)
  }

  /** Returns why the stored entry, or the lack of one, forbids this write; undefined when it does not. */
  #barrierOf(write: Write, { id }: EntryKey): WriteResult | undefined {
    if (write.mode === 'set' && write.cas === undefined) return undefined
    const isThere = this.#hooks.versionOf(id) !== undefined
    if (write.mode === 'add' ? isThere : write.mode !== 'set' && !isThere) return 'not_stored'
    return write.cas === undefined ? undefined : this.#compare(id, write.cas)
  }

  #compare(id: Uint8Array, cas: bigint): 'not_found' | 'exists' | undefined {
    const version = this.#hooks.versionOf(id)
    if (version === undefined) {
      this.#stats.casMisses += 1
      return 'not_found'
    }
    if (casTokenOf(version) !== cas) {
      this.#stats.casMismatches += 1
      return 'exists'
    }
    this.#stats.casHits += 1
    return undefined
  }

  #concat({ key, mode, data }: Write, entryKey: EntryKey): WriteResult {
    const old = this.#peek(entryKey)
    if (old === undefined) return 'not_stored'
    const parts = mode === 'append' ? [old.data, data] : [data, old.data]
    return this.#put(entryKey, { flags: old.flags, data: Buffer.concat(parts), key }, old.ttlMs)
  }

  #arithmetic(request: Arithmetic): ArithmeticResult {
    const { key, direction, delta, cas, initial } = request
    const entryKey = this.#entryKeyOf(key)
    const old = this.#peek(entryKey)
    if (old === undefined) {
      if (initial === undefined) return 'not_found'
      const first = { flags: 0, data: Buffer.from(initial.value.toString()), key }
      const stored = this.#put(entryKey, first, this.#ttlMs(initial.expirySec))
      return stored === 'stored' ? initial.value : stored
    }
    const mismatch = cas === undefined ? undefined : this.#compare(entryKey.id, cas)
    if (mismatch !== undefined) return mismatch
    const text = old.data.toString('latin1').trimEnd()
    const number = DECIMAL.test(text) ? BigInt(text) : U64
    if (number >= U64) return 'non_numeric'
    const value = direction === 'increment' ? (number + delta) % U64 : number - min(number, delta)
    const data = Buffer.from(value.toString())
    const stored = this.#put(entryKey, { flags: old.flags, data, key }, old.ttlMs)
    return stored === 'stored' ? value : stored
  }

  #put(entryKey: EntryKey, value: KeyedValue, ttlMs?: number): WriteResult {
    if (ttlMs !== undefined && ttlMs <= 0) {
      // In memcached such a value expires at once, and it removes what was stored before; so it does here.
      this.#remove(value.key, entryKey)
      return 'stored'
    }
    const result = this.#putStored(entryKey, value, ttlMs)
    if (result === 'stored' || result === 'replaced') return 'stored'
    this.#stats.refused += 1
    return result
  }

  #putStored({ id, form }: EntryKey, value: KeyedValue, ttlMs: number | undefined): PutResult {
    if (form === 'plain' || form === 'spelled') return this.#putUnderOwnKey(value, ttlMs)
    const stored = toStored(form, value)
    if (stored === undefined) return this.#hooks.refuse('key_mismatch', { id, session: value.data })
    return this.#hooks.putOwn(id, stored, ttlMs)
  }

  /** Stores under a key of no known program: a session whose ID it contains as that session, all else as a value. */
  #putUnderOwnKey(value: KeyedValue, ttlMs: number | undefined): PutResult {
    const { key, flags, data } = value
    const session = tryReadEncodedSession(data)
    if (session === undefined) return this.#hooks.putOwn(key, toStoredValue(value), ttlMs)
    const isSpelled = flags === 0 && spelledIds(key).some((id) => isSameBytes(id, session.id))
    if (!isSpelled) return this.#hooks.putValue(key, toStoredValue(value), session, ttlMs)
    const result = this.#hooks.putOwn(session.id, data, ttlMs)
    const isStored = result === 'stored' || result === 'replaced'
    // A value stored under the key itself would hide the session.
    if (isStored && this.#hooks.versionOf(key) !== undefined) this.#hooks.removeAny(key)
    return result
  }

  /** Removes what is stored under the key, and a session that a value under the key hides. */
  #remove(key: Buffer, { id, form }: EntryKey): boolean {
    const isRemoved = this.#hooks.removeAny(id)
    const hidden = form === 'plain' ? this.#spelledKeyOf(key) : undefined
    if (hidden !== undefined) this.#hooks.removeAny(hidden.id)
    return isRemoved
  }

  #entryKeyOf(key: Buffer): EntryKey {
    return toSessionKey(key) ?? this.#spelledKeyOf(key) ?? { id: key, form: 'plain' }
  }

  /** Finds the stored session whose ID a key of no known program contains; a value under the key itself hides it. */
  #spelledKeyOf(key: Buffer): EntryKey | undefined {
    if (key.length < MIN_SPELLED_BYTES || this.#hooks.versionOf(key) !== undefined) return undefined
    const id = spelledIds(key).find((one) => this.#isSession(one))
    return id === undefined ? undefined : { id, form: 'spelled' }
  }

  /** Whether what is stored under this ID is a session that has this ID. */
  #isSession(id: Buffer): boolean {
    const found = this.#hooks.peekAny(id)
    const session = found === undefined ? undefined : tryReadEncodedSession(found.session)
    return session !== undefined && isSameBytes(session.id, id)
  }

  #peek({ id, form }: EntryKey): OldEntry | undefined {
    const found = this.#hooks.peekAny(id)
    return found === undefined ? undefined : toOldEntry(form, found)
  }

  #ttlMs(expirySec: number): number | undefined {
    return toTtlMs(expirySec, this.#clock.wallMs())
  }
}

function toOldEntry(form: EntryKey['form'], found: PeekedSession): OldEntry {
  const { flags, data } = fromStored(form, found.session)
  return { flags, data, ttlMs: found.ttlMs, version: found.version }
}

function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b
}

// Converts memcached's expiration times to lifetimes.

/** 30 days. A larger number is an absolute time in seconds since 1970 (protocol.txt, "Expiration times"). */
const MAX_RELATIVE_SEC = 2_592_000

/**
 * Returns the lifetime in milliseconds: undefined for 0, which asks for the longest, and 0 or less for a time in the
 * past.
 */
export function toTtlMs(expirySec: number, wallMs: number): number | undefined {
  if (expirySec === 0) return undefined
  return expirySec > MAX_RELATIVE_SEC ? expirySec * 1000 - wallMs : expirySec * 1000
}
