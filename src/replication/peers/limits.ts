// Compares the limits of this node's caches with those of its peers. Greetings carry them, a few caches at a time, and
// each difference is logged once per boot of a peer.

import type { Logger, RandomSource } from '../../base/world.ts'
import type { CacheLimits } from '../../store/limits.ts'
import {
  type GreetedCache,
  type GreetedCaches,
  greetedBytes,
  greetedCacheOf,
  MAX_GREETED_CACHES,
} from '../../wire/greeted-caches.ts'
import type { Sender } from '../live/senders.ts'

/** Caches of one peer that are remembered; for a peer with more, missing caches are not reported. */
const MAX_REMEMBERED = 256

export class PeerLimits {
  readonly #own: ReadonlyMap<string, GreetedCache>
  readonly #random: RandomSource
  readonly #logger: Logger
  /** Names of the caches that a peer has sent. */
  readonly #told = new WeakMap<Sender, Set<string>>()

  constructor(caches: Iterable<CacheLimits>, random: RandomSource, logger: Logger) {
    this.#own = new Map([...caches].map((limits) => [limits.name, greetedCacheOf(limits)]))
    this.#random = random
    this.#logger = logger
  }

  /**
   * Caches for a greeting: as many as fit into `maxBytes`, from a random one on. If they were taken in turn, each of
   * several peers could get the same few caches every time.
   */
  tell(maxBytes: number): GreetedCaches {
    const all = [...this.#own.values()]
    const start = this.#random(4).readUInt32LE() % Math.max(1, all.length)
    const caches: GreetedCache[] = []
    let bytes = 0
    for (const cache of [...all.slice(start), ...all.slice(0, start)]) {
      bytes += greetedBytes(cache)
      if (bytes > maxBytes || caches.length === MAX_GREETED_CACHES) break
      caches.push(cache)
    }
    return { caches, cacheCount: all.length }
  }

  /** Takes the caches in a greeting, and logs how those not seen before differ from this node's. */
  receive(sender: Sender, { caches, cacheCount }: GreetedCaches): void {
    const told = this.#told.get(sender) ?? new Set()
    this.#told.set(sender, told)
    const before = told.size
    for (const cache of caches) {
      if (told.has(cache.name) || told.size >= MAX_REMEMBERED) continue
      told.add(cache.name)
      this.#compare(sender, cache)
    }
    if (told.size === before || told.size !== cacheCount) return
    for (const name of this.#own.keys()) {
      if (told.has(name)) continue
      this.#warn(sender, name, 'replication: a peer does not have this cache')
    }
  }

  #compare(sender: Sender, theirs: GreetedCache): void {
    const { name } = theirs
    const ours = this.#own.get(name)
    if (ours === undefined) {
      this.#warn(sender, name, 'replication: a peer has a cache that is not configured here')
      return
    }
    const differences: Record<string, unknown> = {}
    for (const field of ['keysize', 'blocksize', 'timeoutMs'] as const) {
      if (ours[field] !== theirs[field]) {
        differences[field] = { here: ours[field], there: theirs[field] }
      }
    }
    if (ours.contextsHash !== theirs.contextsHash) differences['contexts'] = 'differ'
    if (Object.keys(differences).length === 0) return
    const message =
      'replication: a peer has other limits; what is outside the limits of one side is only on the other'
    this.#warn(sender, name, message, differences)
  }

  #warn(sender: Sender, cache: string, message: string, fields = {}): void {
    this.#logger.warn({ peer: sender.nodeName, cache, ...fields }, message)
  }
}
