// Which slot the memory of a removal lies in. Bounded: when there are too many, an oldest one is forgotten.

import { asBuffer } from '../base/bytes.ts'
import type { Sharding } from './sharding.ts'

export class Tombstones {
  readonly #sharding: Sharding
  readonly #shards: Map<string, number>[]
  readonly #limit: number
  readonly #onLeave: (slot: number) => void
  /** Slots that were given back, to be used again before new ones are begun. */
  readonly #freeSlots: number[] = []
  #nextSlot: number
  #size = 0

  /**
   * The slots are `limit` ones from `firstSlot`; `onLeave` is called with that of each tombstone that
   * leaves.
   */
  constructor(
    limit: number,
    firstSlot: number,
    sharding: Sharding,
    onLeave: (slot: number) => void,
  ) {
    this.#nextSlot = firstSlot
    this.#sharding = sharding
    this.#shards = Array.from({ length: sharding.count }, () => new Map<string, number>())
    this.#limit = limit
    this.#onLeave = onLeave
  }

  get size(): number {
    return this.#size
  }

  get(id: Uint8Array): number | undefined {
    return this.#size === 0 ? undefined : this.#shardOf(id).get(keyOf(id))
  }

  /** A slot for the removal of this ID; the one it had leaves. */
  claim(id: Uint8Array): number {
    this.delete(id)
    const shard = this.#shardOf(id)
    if (this.#size === this.#limit) this.#forgetOldest(shard)
    const slot = this.#freeSlots.pop() ?? this.#nextSlot
    if (slot === this.#nextSlot) this.#nextSlot += 1
    shard.set(keyOf(id), slot)
    this.#size += 1
    return slot
  }

  delete(id: Uint8Array): void {
    if (this.#size === 0) return
    const shard = this.#shardOf(id)
    const key = keyOf(id)
    const slot = shard.get(key)
    if (slot !== undefined) this.#take(shard, key, slot)
  }

  /** Of this shard when it has any, otherwise of another. */
  #forgetOldest(preferred: Map<string, number>): void {
    const shard = preferred.size > 0 ? preferred : this.#shards.find((other) => other.size > 0)
    const oldest = shard?.entries().next()
    if (shard !== undefined && oldest?.done === false) this.#take(shard, ...oldest.value)
  }

  #take(shard: Map<string, number>, key: string, slot: number): void {
    shard.delete(key)
    this.#size -= 1
    this.#freeSlots.push(slot)
    this.#onLeave(slot)
  }

  #shardOf(id: Uint8Array): Map<string, number> {
    const shard = this.#shards[this.#sharding.shardOf(this.#sharding.fingerprint(id))]
    if (shard === undefined) throw new RangeError('no such shard')
    return shard
  }
}

function keyOf(id: Uint8Array): string {
  return asBuffer(id).toString('latin1')
}
