// Maps session IDs to slots and knows which ID was used least recently: of all IDs in an index of one shard, per shard
// in a larger one. The store has one index for its sessions and one for its tombstones.
//
// The keys of the shards are made from the ID's fingerprint: a small integer is found in half the time of a string and
// takes no memory of its own. Since two IDs may share a fingerprint, a lookup compares the ID in the slot. An ID whose
// fingerprint another ID has already (116 pairs in a million) gets its full bytes as key, in the same shard and order.

import { asBuffer } from '../base/bytes.ts'
import { checkLruCache, type Key, Shard } from './shard.ts'
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
