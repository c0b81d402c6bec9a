// Which slot a session ID lies in, and which session was used least recently: exactly so in an index of
// one shard, per shard in a larger one.
//
// The shards go by the ID's fingerprint: a small integer is found in half the time of a string and
// takes no memory of its own. Whoever finds a slot makes sure that it holds the ID asked for. The few IDs
// whose fingerprint is another one's already (116 pairs in a million) are kept by their full bytes.

import { asBuffer } from '../base/bytes.ts'
import { checkLruCache, FingerprintShard, Shard } from './shard.ts'
import type { Sharding } from './sharding.ts'

/** Most IDs that share a fingerprint with another one; the least recently used of them gives way. */
const MAX_DOUBLES = 65_536

export interface SlotOwner {
  /** Whether the slot holds the session with this ID. */
  holdsId(slot: number, id: Uint8Array): boolean
  /** The slot's session left the index, for whatever reason; `isEvicted` when room was made for another. */
  onLeave(slot: number, isEvicted: boolean): void
}

export class SessionIndex {
  /** Slots are below this number. */
  readonly slots: number
  readonly #sharding: Sharding
  readonly #owner: SlotOwner
  readonly #shards: FingerprintShard[]
  readonly #doubles: Shard<string>
  /** How many of the doubles have each fingerprint. */
  readonly #doubled = new Map<number, number>()
  #size = 0

  /** Throws ERR_INTERNAL when the installed lru-cache is not one that the shards can stand on. */
  constructor(items: number, sharding: Sharding, owner: SlotOwner) {
    checkLruCache()
    this.#sharding = sharding
    this.#owner = owner
    const onLeave = (slot: number, isEvicted: boolean) => {
      this.#size -= 1
      owner.onLeave(slot, isEvicted)
    }
    const { count, itemsPerShard, keys } = sharding
    this.#shards = Array.from({ length: count }, (_, number) => {
      const firstSlot = number * itemsPerShard
      return new FingerprintShard(firstSlot, itemsPerShard, keys, onLeave)
    })
    const doubles = Math.min(items, MAX_DOUBLES)
    this.#doubles = new Shard(count * itemsPerShard, doubles, (slot, isEvicted, key) => {
      this.#countDouble(sharding.fingerprint(Buffer.from(key, 'latin1')), -1)
      onLeave(slot, isEvicted)
    })
    this.slots = count * itemsPerShard + doubles
  }

  get size(): number {
    return this.#size
  }

  /** The slot of this ID, its recency left as it is. */
  find(id: Uint8Array): number | undefined {
    const fingerprint = this.#sharding.fingerprint(id)
    const slot = this.slotOf(fingerprint)
    if (slot !== undefined && this.#owner.holdsId(slot, id)) return slot
    return this.#doubled.has(fingerprint) ? this.#doubles.find(bytesKey(id)) : undefined
  }

  /** The slot of this ID, which thereby becomes the most recently used. */
  use(id: Uint8Array): number | undefined {
    const fingerprint = this.#sharding.fingerprint(id)
    const slot = this.#shard(fingerprint).use(this.#sharding.keyOf(fingerprint))
    if (slot !== undefined && this.#owner.holdsId(slot, id)) return slot
    return this.#doubled.has(fingerprint) ? this.#doubles.use(bytesKey(id)) : undefined
  }

  /** Of the ID that is `length` bytes from `start` on. */
  fingerprintIn(view: DataView, start: number, length: number): number {
    return this.#sharding.fingerprintIn(view, start, length)
  }

  /** Reads what `slotOf` begins with. */
  touch(fingerprint: number): number {
    return this.#shard(fingerprint).touch(this.#sharding.keyOf(fingerprint))
  }

  /** The slot of the first ID with this fingerprint, which nearly always is the only one. */
  slotOf(fingerprint: number): number | undefined {
    return this.#shard(fingerprint).find(this.#sharding.keyOf(fingerprint))
  }

  /** The session in this slot, which `slotOf` gave, becomes the most recently used. */
  useSlot(fingerprint: number, slot: number): void {
    this.#shard(fingerprint).useSlot(slot)
  }

  /** A slot for an ID that has none; whatever lies in it is the caller's to say from now on. */
  claim(id: Uint8Array): number {
    this.#size += 1
    const fingerprint = this.#sharding.fingerprint(id)
    const shard = this.#shard(fingerprint)
    const key = this.#sharding.keyOf(fingerprint)
    if (shard.find(key) === undefined) return shard.claim(key)
    this.#countDouble(fingerprint, 1)
    return this.#doubles.claim(bytesKey(id))
  }

  delete(id: Uint8Array): void {
    const fingerprint = this.#sharding.fingerprint(id)
    const shard = this.#shard(fingerprint)
    const key = this.#sharding.keyOf(fingerprint)
    const slot = shard.find(key)
    if (slot !== undefined && this.#owner.holdsId(slot, id)) shard.delete(key)
    else if (this.#doubled.has(fingerprint)) this.#doubles.delete(bytesKey(id))
  }

  /** Pushes out the least recently used session of the ID's shard, or of the next one that has any. */
  evictFor(id: Uint8Array): void {
    const start = this.#sharding.shardOf(this.#sharding.fingerprint(id))
    for (let step = 0; step < this.#shards.length; step += 1) {
      const shard = this.#shards[(start + step) % this.#shards.length]
      if (shard?.evict() === true) return
    }
    this.#doubles.evict()
  }

  /** The slot of the least recently used session of the first shard that has any. */
  oldest(): number | undefined {
    for (const shard of [...this.#shards, this.#doubles]) {
      if (shard.size > 0) return shard.oldest()
    }
    return undefined
  }

  #countDouble(fingerprint: number, change: number): void {
    const count = (this.#doubled.get(fingerprint) ?? 0) + change
    if (count === 0) this.#doubled.delete(fingerprint)
    else this.#doubled.set(fingerprint, count)
  }

  #shard(fingerprint: number): FingerprintShard {
    const shard = this.#shards[this.#sharding.shardOf(fingerprint)]
    if (shard === undefined) throw new RangeError('no such shard')
    return shard
  }
}

function bytesKey(id: Uint8Array): string {
  return asBuffer(id).toString('latin1')
}
