// Which slot a session ID lies in, and which was used least recently: exactly so in an index of one shard, per shard in
// a larger one. The store has one for its sessions and one for its tombstones.
//
// The shards go by the ID's fingerprint: a small integer is found in half the time of a string and takes no memory of
// its own. Whoever finds a slot makes sure that it holds the ID asked for. The few IDs whose fingerprint is another
// one's already (116 pairs in a million) are kept by their full bytes, in the same shard and the same order.

import { asBuffer } from '../base/bytes.ts'
import { checkLruCache, type Key, Shard } from './shard.ts'
import type { Sharding } from './sharding.ts'

export interface SlotOwner {
  /** Whether the slot holds the entry with this ID. */
  holdsId(slot: number, id: Uint8Array): boolean
  /** The slot's entry left the index, for whatever reason; `isEvicted` when room was made for another. */
  onLeave(slot: number, isEvicted: boolean): void
}

export class SessionIndex {
  /** The first slot number behind those of this index. */
  readonly endSlot: number
  readonly #sharding: Sharding
  readonly #owner: SlotOwner
  readonly #firstSlot: number
  /** Made when the first ID comes: a shard takes memory for all that it may hold. */
  readonly #shards: (Shard | undefined)[]
  /** How many IDs beside the first one have each fingerprint. */
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

  /** The slot of this ID, its recency left as it is. */
  find(id: Uint8Array): number | undefined {
    if (this.#size === 0) return undefined
    const fingerprint = this.#sharding.fingerprint(id)
    const shard = this.#shard(fingerprint)
    const slot = shard?.find(this.#sharding.keyOf(fingerprint))
    if (slot !== undefined && this.#owner.holdsId(slot, id)) return slot
    return this.#doubled.has(fingerprint) ? shard?.find(bytesKey(id)) : undefined
  }

  /** The slot of this ID, which thereby becomes the most recently used. */
  use(id: Uint8Array): number | undefined {
    const fingerprint = this.#sharding.fingerprint(id)
    const shard = this.#shard(fingerprint)
    const slot = shard?.use(this.#sharding.keyOf(fingerprint))
    if (slot !== undefined && this.#owner.holdsId(slot, id)) return slot
    return this.#doubled.has(fingerprint) ? shard?.use(bytesKey(id)) : undefined
  }

  /** Of the ID that is `length` bytes from `start` on. */
  fingerprintIn(view: DataView, start: number, length: number): number {
    return this.#sharding.fingerprintIn(view, start, length)
  }

  /** Reads what `slotOf` begins with. */
  touch(fingerprint: number): number {
    return this.#shard(fingerprint)?.touch(this.#sharding.keyOf(fingerprint)) ?? 0
  }

  /** The slot of the first ID with this fingerprint, which nearly always is the only one. */
  slotOf(fingerprint: number): number | undefined {
    return this.#shard(fingerprint)?.find(this.#sharding.keyOf(fingerprint))
  }

  /** The entry in this slot, which `slotOf` gave, becomes the most recently used. */
  useSlot(fingerprint: number, slot: number): void {
    this.#shard(fingerprint)?.useSlot(slot)
  }

  /** A slot for an ID that has none; whatever lies in it is the caller's to say from now on. */
  claim(id: Uint8Array): number {
    this.#size += 1
    const fingerprint = this.#sharding.fingerprint(id)
    const shard = this.#shard(fingerprint) ?? this.#addShard(fingerprint)
    const key = this.#sharding.keyOf(fingerprint)
    if (shard.find(key) === undefined) return shard.claim(key)
    this.#countDouble(fingerprint, 1)
    return shard.claim(bytesKey(id))
  }

  /** A slot for an ID, which loses the one it may have; when there are `most` IDs, the one claimed first gives way. */
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

  /** Pushes out the least recently used ID of this ID's shard, or of the next one that has any. */
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
