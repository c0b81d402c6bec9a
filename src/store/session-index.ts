// Which slot a session ID lies in, and which session was used least recently: exactly so in an index of
// one shard, per shard in a larger one.
//
// The shards go by the ID's 32-bit fingerprint: a small integer is found in half the time of a string and
// takes no memory of its own. Whoever finds a slot makes sure that it holds the ID asked for. The few IDs
// whose fingerprint is another one's already (116 pairs in a million) are kept by their full bytes.

import { LRUCache } from 'lru-cache'
import { asBuffer } from '../base/bytes.ts'
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
  readonly #sharding: Sharding
  readonly #owner: SlotOwner
  readonly #shards: LRUCache<number, number>[]
  readonly #doubles: LRUCache<string, number>
  // Complete, and made once: lru-cache would make an empty object in each call and look up every default.
  readonly #getOptions: LRUCache.GetOptions<number, number, unknown> = {
    allowStale: false,
    updateAgeOnGet: false,
    noDeleteOnStaleGet: false,
  }
  readonly #peekOptions: LRUCache.PeekOptions<number, number, unknown> = { allowStale: false }
  #size = 0

  constructor(items: number, sharding: Sharding, owner: SlotOwner) {
    this.#sharding = sharding
    this.#owner = owner
    const dispose = (slot: number, _key: unknown, reason: string) => {
      if (reason !== 'set') this.#size -= 1
      owner.onLeave(slot, reason === 'evict')
    }
    const max = sharding.itemsPerShard
    this.#shards = Array.from(
      { length: sharding.count },
      () => new LRUCache<number, number>({ max, dispose }),
    )
    this.#doubles = new LRUCache<string, number>({ max: Math.min(items, MAX_DOUBLES), dispose })
  }

  get size(): number {
    return this.#size
  }

  /** The slot of this ID, its recency left as it is. */
  find(id: Uint8Array): number | undefined {
    const fingerprint = this.#sharding.fingerprint(id)
    const slot = this.#shard(fingerprint).peek(fingerprint, this.#peekOptions)
    if (slot !== undefined && this.#owner.holdsId(slot, id)) return slot
    return this.#doubles.size === 0 ? undefined : this.#doubles.peek(keyOf(id))
  }

  /** The slot of this ID, which thereby becomes the most recently used. */
  use(id: Uint8Array): number | undefined {
    const fingerprint = this.#sharding.fingerprint(id)
    const slot = this.#shard(fingerprint).get(fingerprint, this.#getOptions)
    if (slot !== undefined && this.#owner.holdsId(slot, id)) return slot
    return this.#doubles.size === 0 ? undefined : this.#doubles.get(keyOf(id))
  }

  /** Gives the ID a slot; the one it had, `old`, leaves. */
  set(id: Uint8Array, slot: number, old: number | undefined): void {
    if (old === undefined) this.#size += 1
    const fingerprint = this.#sharding.fingerprint(id)
    const shard = this.#shard(fingerprint)
    const isShardsOwn = shard.peek(fingerprint, this.#peekOptions) === old && !this.#isDouble(id)
    if (isShardsOwn) shard.set(fingerprint, slot)
    else this.#doubles.set(keyOf(id), slot)
  }

  delete(id: Uint8Array): void {
    const fingerprint = this.#sharding.fingerprint(id)
    const shard = this.#shard(fingerprint)
    const slot = shard.peek(fingerprint, this.#peekOptions)
    if (slot !== undefined && this.#owner.holdsId(slot, id)) shard.delete(fingerprint)
    else if (this.#doubles.size > 0) this.#doubles.delete(keyOf(id))
  }

  /** Pushes out the least recently used session of the ID's shard, or of the next one that has any. */
  evictFor(id: Uint8Array): void {
    const start = this.#sharding.shardOf(this.#sharding.fingerprint(id))
    for (let step = 0; step < this.#shards.length; step += 1) {
      const shard = this.#shards[(start + step) % this.#shards.length]
      if (shard?.pop() !== undefined) return
    }
    this.#doubles.pop()
  }

  /** The slot of the least recently used session of the first shard that has any. */
  oldest(): number | undefined {
    for (const shard of [...this.#shards, this.#doubles]) {
      for (const slot of shard.rvalues()) return slot
    }
    return undefined
  }

  #isDouble(id: Uint8Array): boolean {
    return this.#doubles.size > 0 && this.#doubles.has(keyOf(id))
  }

  #shard(fingerprint: number): LRUCache<number, number> {
    const shard = this.#shards[this.#sharding.shardOf(fingerprint)]
    if (shard === undefined) throw new RangeError('no such shard')
    return shard
  }
}

function keyOf(id: Uint8Array): string {
  return asBuffer(id).toString('latin1')
}
