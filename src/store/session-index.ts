// The index of a store: maps session IDs to slots and knows which ID was used least recently: of all IDs in an index of
// one shard, per shard in a larger one. The store has one index for its sessions and one for its tombstones.
//
// The keys of the shards are made from the ID's fingerprint: a small integer is found in half the time of a string and
// takes no memory of its own. Since two IDs may share a fingerprint, a lookup compares the ID in the slot. An ID whose
// fingerprint another ID has already (116 pairs in a million) gets its full bytes as key, in the same shard and order.

import { LRUCache } from 'lru-cache'
import { asBuffer } from '../base/bytes.ts'
import { messageOf, TlscachedError } from '../base/errors.ts'
import type { Sharding } from './sharding.ts'

export interface SlotOwner {
  /** Whether the slot holds the entry with this ID. */
  holdsId(slot: number, id: Uint8Array): boolean
  /** Called when a slot's ID leaves the index, for any reason; `isEvicted` when it made room for another ID. */
  onLeave(slot: number, isEvicted: boolean): void
}

export class SessionIndex {
  /** The slot numbers of this index are below this one. */
  readonly endSlot: number
  readonly #sharding: Sharding
  readonly #owner: SlotOwner
  readonly #firstSlot: number
  /** Each shard is made for its first ID, since a new shard takes memory for all IDs that it may hold. */
  readonly #shards: (Shard | undefined)[]
  /** By fingerprint: how many IDs have their bytes as key because another ID had the fingerprint already. */
  readonly #doubled = new Map<number, number>()
  #size = 0

  /** Throws ERR_INTERNAL when the installed lru-cache is not one that the shards can stand on. */
  constructor(sharding: Sharding, firstSlot: number, owner: SlotOwner) {
    checkLruCache()
    this.#sharding = sharding
    this.#firstSlot = firstSlot
    this.#owner = owner
    this.#shards = Array.from({ length: sharding.count }, () => undefined)
    this.endSlot = firstSlot + sharding.count * sharding.itemsPerShard
  }

  get size(): number {
    return this.#size
  }

  /** The slot of this ID; leaves its recency unchanged. */
  find(id: Uint8Array): number | undefined {
    if (this.#size === 0) return undefined
    const fingerprint = this.#sharding.fingerprint(id)
    const shard = this.#shard(fingerprint)
    const slot = shard?.find(this.#sharding.keyOf(fingerprint))
    if (slot !== undefined && this.#owner.holdsId(slot, id)) return slot
    return this.#doubled.has(fingerprint) ? shard?.find(bytesKey(id)) : undefined
  }

  /** The slot of this ID, which becomes the most recently used of its shard. */
  use(id: Uint8Array): number | undefined {
    const fingerprint = this.#sharding.fingerprint(id)
    const shard = this.#shard(fingerprint)
    const slot = shard?.use(this.#sharding.keyOf(fingerprint))
    if (slot !== undefined && this.#owner.holdsId(slot, id)) return slot
    return this.#doubled.has(fingerprint) ? shard?.use(bytesKey(id)) : undefined
  }

  /** The fingerprint of the ID in `length` bytes of the view from `start` on. */
  fingerprintIn(view: DataView, start: number, length: number): number {
    return this.#sharding.fingerprintIn(view, start, length)
  }

  /** Brings the memory that `slotOf` reads first into the processor's cache; the result has no meaning. */
  touch(fingerprint: number): number {
    return this.#shard(fingerprint)?.touch(this.#sharding.keyOf(fingerprint)) ?? 0
  }

  /** The slot of the first ID with this fingerprint, which nearly always is the only one. */
  slotOf(fingerprint: number): number | undefined {
    return this.#shard(fingerprint)?.find(this.#sharding.keyOf(fingerprint))
  }

  /** Makes the ID of this slot, which `slotOf` returned, the most recently used of its shard. */
  useSlot(fingerprint: number, slot: number): void {
    this.#shard(fingerprint)?.useSlot(slot)
  }

  /** Gives a slot to an ID that has none; a full shard evicts its least recently used ID first. */
  claim(id: Uint8Array): number {
    this.#size += 1
    const fingerprint = this.#sharding.fingerprint(id)
    const shard = this.#shard(fingerprint) ?? this.#addShard(fingerprint)
    const key = this.#sharding.keyOf(fingerprint)
    if (shard.find(key) === undefined) return shard.claim(key)
    this.#countDouble(fingerprint, 1)
    return shard.claim(bytesKey(id))
  }

  /**
   * Gives an ID a new slot, after deleting it or, when the index holds `most` IDs, evicting another one of its shard.
   */
  claimAnew(id: Uint8Array, most: number): number {
    this.delete(id)
    if (this.#size === most) this.evictFor(id)
    return this.claim(id)
  }

  delete(id: Uint8Array): void {
    if (this.#size === 0) return
    const fingerprint = this.#sharding.fingerprint(id)
    const shard = this.#shard(fingerprint)
    const key = this.#sharding.keyOf(fingerprint)
    const slot = shard?.find(key)
    if (slot !== undefined && this.#owner.holdsId(slot, id)) shard?.delete(key)
    else if (this.#doubled.has(fingerprint)) shard?.delete(bytesKey(id))
  }

  /** Evicts the least recently used ID of this ID's shard, or of the next shard that has any. */
  evictFor(id: Uint8Array): void {
    const start = this.#sharding.shardOf(this.#sharding.fingerprint(id))
    for (let step = 0; step < this.#shards.length; step += 1) {
      const shard = this.#shards[(start + step) % this.#shards.length]
      if (shard?.evict() === true) return
    }
  }

  /** The slot of the least recently used ID of the first shard that has any. */
  oldest(): number | undefined {
    return this.#shards.find((shard) => shard !== undefined && shard.size > 0)?.oldest()
  }

  #countDouble(fingerprint: number, change: number): void {
    const count = (this.#doubled.get(fingerprint) ?? 0) + change
    if (count === 0) this.#doubled.delete(fingerprint)
    else this.#doubled.set(fingerprint, count)
  }

  #shard(fingerprint: number): Shard | undefined {
    return this.#shards[this.#sharding.shardOf(fingerprint)]
  }

  #addShard(fingerprint: number): Shard {
    const { itemsPerShard, keys } = this.#sharding
    const number = this.#sharding.shardOf(fingerprint)
    const firstSlot = this.#firstSlot + number * itemsPerShard
    const shard = new Shard(firstSlot, itemsPerShard, keys, (slot, isEvicted, key) =>
      this.#left(slot, isEvicted, key),
    )
    this.#shards[number] = shard
    return shard
  }

  #left(slot: number, isEvicted: boolean, key: Key): void {
    this.#size -= 1
    if (typeof key === 'string') {
      this.#countDouble(this.#sharding.fingerprint(Buffer.from(key, 'latin1')), -1)
    }
    this.#owner.onLeave(slot, isEvicted)
  }
}

function bytesKey(id: Uint8Array): string {
  return asBuffer(id).toString('latin1')
}

// One shard of the index: gives out some of the slots to keys and knows which key was used least recently.
//
// A key is a small integer, or the bytes of an ID as text where that integer is another ID's already. Both kinds are in
// one list, so that there is one order of eviction.
//
// lru-cache gives each key a place in its lists, which stays the same until the key leaves. The slot is computed from
// that place, so that a lookup reads neither the list of values nor whether one is stale: one cache miss less in every
// get of a large store (measured: a fifth faster at a million items).

/** Passed to each `set`, which would make an object of its own otherwise. */
const NO_OPTIONS = {}

export type Key = number | string
export type LeaveListener = (slot: number, isEvicted: boolean, key: Key) => void

export class Shard {
  readonly #firstSlot: number
  readonly #lru: LRUCache<Key, true>
  /** The map of places inside lru-cache, which is only read here. */
  readonly #places: ReadonlyMap<Key, number>
  /** The tail is the place of the key used most recently. */
  readonly #ends: { readonly tail: number }
  readonly #moveToTail: (place: number) => void
  #isDeletingLast = false
  /** The places of most keys that are integers. */
  readonly #lookaside: PlaceLookaside

  /** The shard has `slots` slots from number `firstSlot` on. Keys that are integers are below `keys`. */
  constructor(firstSlot: number, slots: number, keys: number, onLeave: LeaveListener) {
    this.#firstSlot = firstSlot
    this.#lookaside = new PlaceLookaside(keys, slots)
    this.#lru = new LRUCache<Key, true>({
      max: slots,
      // lru-cache calls this while the key still has its place.
      dispose: (_value, key, reason) => {
        const slot = this.#slotOf(key)
        if (typeof key === 'number') this.#lookaside.delete(key)
        onLeave(slot, reason === 'evict' && !this.#isDeletingLast, key)
      },
    })
    const internals = LRUCache.unsafeExposeInternals(this.#lru)
    this.#places = internals.keyMap
    this.#ends = internals
    this.#moveToTail = internals.moveToTail
  }

  get size(): number {
    return this.#places.size
  }

  find(key: Key): number | undefined {
    const place = this.#placeOf(key)
    return place === undefined ? undefined : this.#firstSlot + place
  }

  /** The key's slot, as `find` returns it; the key becomes the most recently used. */
  use(key: Key): number | undefined {
    const place = this.#placeOf(key)
    if (place === undefined) return undefined
    this.#moveToTail(place)
    return this.#firstSlot + place
  }

  /** Makes the key of this slot the most recently used. */
  useSlot(slot: number): void {
    this.#moveToTail(slot - this.#firstSlot)
  }

  /** Brings the memory that `find` and `use` read first into the processor's cache; the result has no meaning. */
  touch(key: number): number {
    return this.#lookaside.touch(key)
  }

  /** Gives a slot to a key that has none and makes it the most recently used; a full shard evicts its oldest key. */
  claim(key: Key): number {
    this.#lru.set(key, true, NO_OPTIONS)
    const place = this.#ends.tail
    if (typeof key === 'number') this.#lookaside.add(key, place)
    return this.#firstSlot + place
  }

  delete(key: Key): void {
    if (this.size > 1) {
      this.#lru.delete(key)
    } else if (this.#places.has(key)) {
      // lru-cache deletes its last key by clearing all of its lists, which takes 0.1 ms at 20,000 slots (measured).
      this.#isDeletingLast = true
      this.#lru.pop()
      this.#isDeletingLast = false
    }
  }

  /** Evicts the least recently used key; false when there is none. */
  evict(): boolean {
    return this.#lru.pop() !== undefined
  }

  oldest(): number | undefined {
    for (const key of this.#lru.rkeys()) return this.#slotOf(key)
    return undefined
  }

  #placeOf(key: Key): number | undefined {
    if (typeof key === 'string') return this.#places.get(key)
    const known = this.#lookaside.find(key)
    if (known !== undefined) return known
    const place = this.#places.get(key)
    if (place !== undefined) this.#lookaside.add(key, place)
    return place
  }

  #slotOf(key: Key): number {
    const slot = this.find(key)
    if (slot === undefined) throw new RangeError('this key has no place')
    return slot
  }
}

/**
 * Tries on a shard of three slots whether lru-cache still works inside as the class above assumes: its internals are
 * undocumented, and a release that changes them would mix up sessions without any error. The keys are text, which the
 * lookaside never hides. Throws ERR_INTERNAL.
 */
export function checkLruCache(): void {
  let reason = 'a key loses its place, or the order of use is another one'
  try {
    if (isShardSound()) return
  } catch (error) {
    reason = messageOf(error)
  }
  throw new TlscachedError(
    'ERR_INTERNAL',
    `the installed lru-cache does not work inside as the store needs it (${reason}): install the version of package-lock.json`,
  )
}

function isShardSound(): boolean {
  const firstSlot = 5
  const left: string[] = []
  const shard = new Shard(firstSlot, 3, 1, (slot, isEvicted, key) => {
    left.push(`${key} ${slot} ${isEvicted}`)
  })
  const slots = ['a', 'b', 'c'].map((key) => shard.claim(key))
  const [first = 0, second = 0, third = 0] = slots
  const isInOrder = slots.every((slot, index) => slot === firstSlot + index)
  const areFound = shard.use('a') === first && shard.find('b') === second && shard.size === 3
  shard.useSlot(second)
  const isOldestThird = shard.oldest() === third
  const isEvicted = shard.evict() && shard.find('c') === undefined
  shard.delete('a')
  const isReused = [first, third].includes(shard.claim('d'))
  const isRestThere = shard.find('b') === second && shard.oldest() === second && shard.size === 2
  const haveLeft = left.join() === `c ${third} true,a ${first} false`
  return [isInOrder, areFound, isOldestThird, isEvicted, isReused, isRestThere, haveLeft].every(
    Boolean,
  )
}

// A small, fast table of the places of one shard's keys: to its Map what a translation lookaside buffer is to a page
// table.
//
// A random lookup in V8's Map costs three cache misses when no cache of the processor holds it: bucket, entry and, half
// the time, the next entry. Here it costs one, in a sixth of the memory, and there is room for nearly all keys
// (measured: a quarter more gets per second at a million items, a fifth more at 20,000). The table is always a subset
// of the Map.
//
// There is one set of four u32 entries for each value of the key's lower bits; an entry is, from its upper bits on:
//   the upper bits of the key (the lower ones are the number of the set)
//   1 + place; an entry of 0 is empty

const WAYS = 4
/** Most keys per set on average when the shard is full, so few that only few sets get more than WAYS keys. */
const KEYS_PER_SET = 2.5
const ENTRY_BITS = 32

export class PlaceLookaside {
  readonly #setBits: number
  readonly #setMask: number
  readonly #placeBits: number
  readonly #placeMask: number
  readonly #entries: Uint32Array

  /** Keys are below `keys`, at most 2^32, and places below `places`. */
  constructor(keys: number, places: number) {
    this.#placeBits = bitsFor(places + 1)
    const leastSetBits = bitsFor(keys) + this.#placeBits - ENTRY_BITS
    this.#setBits = Math.max(0, bitsFor(places / KEYS_PER_SET), leastSetBits)
    this.#setMask = 2 ** this.#setBits - 1
    this.#placeMask = 2 ** this.#placeBits - 1
    this.#entries = new Uint32Array(2 ** this.#setBits * WAYS)
  }

  /** The key's place, undefined when it is not known here. */
  find(key: number): number | undefined {
    const at = this.#at(key)
    return at === -1 ? undefined : ((this.#entries[at] ?? 0) & this.#placeMask) - 1
  }

  /** Brings the key's set into the processor's cache; the result has no meaning. */
  touch(key: number): number {
    return (this.#entries[this.#firstOf(key)] ?? 0) & 1
  }

  /** Adds a key that is not known here. Its set drops the entry in the last way, mostly the oldest one. */
  add(key: number, place: number): void {
    const entries = this.#entries
    const first = this.#firstOf(key)
    for (let at = first + WAYS - 1; at > first; at -= 1) entries[at] = entries[at - 1] ?? 0
    entries[first] = ((key >>> this.#setBits) << this.#placeBits) | (place + 1)
  }

  delete(key: number): void {
    const at = this.#at(key)
    if (at !== -1) this.#entries[at] = 0
  }

  #at(key: number): number {
    const entries = this.#entries
    const placeBits = this.#placeBits
    const tag = key >>> this.#setBits
    const first = this.#firstOf(key)
    for (let at = first; at < first + WAYS; at += 1) {
      const entry = entries[at] ?? 0
      if (entry >>> placeBits === tag && entry !== 0) return at
    }
    return -1
  }

  #firstOf(key: number): number {
    return (key & this.#setMask) * WAYS
  }
}

/** How many bits it takes to tell this many values apart. */
function bitsFor(values: number): number {
  return Math.ceil(Math.log2(Math.max(1, values)))
}
