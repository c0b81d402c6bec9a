// The ticket-key authority of a node: runs the rings of all groups by the clock, tells those who use the keys of every
// change, and is what the connection between nodes swaps rings with.

import type { Clock, RandomSource, Timer } from '../base/world.ts'
import { hashRings, type RingOffer } from '../wire/ring-message.ts'
import type { KeptRing } from './kept-ring.ts'
import { TicketRing } from './ring.ts'
import { openedKeys, type RingView } from './rule.ts'
import type { RingTimes } from './times.ts'

/** While a node may not make keys yet, it looks at its rings no more often than this. */
const JOINING_PERIOD_MS = 1000

/** Where the keys of one group come from: an authority in this process, or one of a node elsewhere. */
export interface TicketKeySource {
  /** The keys by use, as they are now. It holds secrets that are erased later: lay them out at once. */
  view(): RingView
  /** Calls `listener` after each change of the view. Returns a function that ends it. */
  onChange(listener: () => void): () => void
}

export interface AuthorityOptions {
  readonly groups: readonly { readonly name: string; readonly times: RingTimes }[]
  /** Identifies this node among its peers; it decides which node makes the next key. */
  readonly nodeId: Uint8Array
  readonly clock: Clock
  readonly random: RandomSource
}

interface Group {
  readonly ring: TicketRing
  readonly listeners: Set<() => void>
  /** The names of the keys by use when the listeners were last called. */
  shown: string
}

export class TicketAuthority {
  /** Offers of groups that this node does not have; a sign of different configurations. */
  unknownGroups = 0
  readonly #clock: Clock
  readonly #groups: ReadonlyMap<string, Group>
  /** What an earlier process held, by group, until it is taken over. */
  readonly #kept = new Map<string, KeptRing>()
  #mayMake = false
  #isStopped = false
  #timer: Timer | undefined

  constructor({ groups, nodeId, clock, random }: AuthorityOptions) {
    this.#clock = clock
    this.#groups = new Map(
      groups.map(({ name, times }) => {
        const ring = new TicketRing({ group: name, times, nodeId, random })
        return [name, { ring, listeners: new Set<() => void>(), shown: '' }]
      }),
    )
  }

  get rings(): readonly TicketRing[] {
    return [...this.#groups.values()].map(({ ring }) => ring)
  }

  /** From here on this node makes keys: its peers have been asked, or nobody answered in time. Idempotent; see `doubt`. */
  mayMake(): void {
    if (this.#isStopped) return
    this.#takeKept()
    this.#mayMake = true
    this.#run()
  }

  /**
   * Notes what an earlier process of this node held of a group, before peers are asked, and erases it later. It is taken
   * over when a peer gives its keys, or when nobody did in time: if it were used at once, terminators would be given stale
   * keys just before newer ones.
   */
  restore(name: string, kept: KeptRing): void {
    this.#kept.set(name, kept)
  }

  /** What the ring of a group holds, for the time after a restart; undefined when there is no such group. */
  kept(name: string): KeptRing | undefined {
    return this.#groups.get(name)?.ring.kept()
  }

  /**
   * Notes that the machine was suspended for about `sleptMs`, as `doubt` of a ring; no key is made until the next call of
   * `mayMake`, by which time the peers should have been asked.
   */
  doubt(sleptMs: number): void {
    const nowMs = this.#clock.monotonicMs()
    for (const { ring } of this.#groups.values()) ring.doubt(nowMs, sleptMs)
    this.#mayMake = false
    this.#run()
  }

  /** The keys of a group; undefined when there is no such group. */
  source(name: string): TicketKeySource | undefined {
    const group = this.#groups.get(name)
    if (group === undefined) return undefined
    return {
      view: () => group.ring.view(this.#clock.monotonicMs()),
      onChange(listener) {
        // Wrapped, so that a function that listens twice is called twice and each end ends one.
        const own = () => listener()
        group.listeners.add(own)
        return () => group.listeners.delete(own)
      },
    }
  }

  /** All rings, for a peer. The secrets are copies: the caller erases them when they are sent. */
  offers(): RingOffer[] {
    const nowMs = this.#clock.monotonicMs()
    return this.rings.map((ring) => ring.offer(nowMs))
  }

  /** Takes over what a peer holds. What is refused is counted by the rings. */
  merge(offers: readonly RingOffer[]): void {
    if (this.#isStopped) return
    if (offers.some(({ keys }) => keys.length > 0)) this.#takeKept()
    const nowMs = this.#clock.monotonicMs()
    for (const offer of offers) {
      const group = this.#groups.get(offer.group)
      if (group === undefined) this.unknownGroups += 1
      else group.ring.merge(nowMs, offer)
    }
    this.#run()
  }

  /** The hash for greetings: another one than a peer's says that the rings differ. */
  hash(hashKey: Uint8Array): Buffer {
    const rings = this.rings.map(({ group, keys }) => ({
      group,
      names: keys.map(({ key }) => key.hexName),
    }))
    return hashRings(rings, hashKey)
  }

  /** Makes a key of a group now, as `rotate` of its ring. Returns false when there is no such group. */
  rotate(name: string, options: { isImmediate: boolean; isRevoking: boolean }): boolean {
    const group = this.#groups.get(name)
    if (group === undefined || this.#isStopped) return false
    group.ring.rotate(this.#clock.monotonicMs(), options)
    this.#run()
    return true
  }

  /** Erases all keys. Listeners are not called: what terminators have stays there. Idempotent. */
  stop(): void {
    this.#isStopped = true
    this.#timer?.cancel()
    this.#forgetKept()
    for (const { ring, listeners } of this.#groups.values()) {
      ring.close()
      listeners.clear()
    }
  }

  #takeKept(): void {
    const nowMs = this.#clock.monotonicMs()
    for (const [name, kept] of this.#kept) this.#groups.get(name)?.ring.restore(nowMs, kept)
    this.#forgetKept()
  }

  #forgetKept(): void {
    for (const { keys } of this.#kept.values()) for (const { key } of keys) key.erase()
    this.#kept.clear()
  }

  #run(): void {
    this.#timer?.cancel()
    const nowMs = this.#clock.monotonicMs()
    for (const { ring } of this.#groups.values()) ring.tick(nowMs, this.#mayMake)
    // Armed first, so that a listener that throws does not end the rotation.
    this.#arm(nowMs)
    for (const group of this.#groups.values()) showChange(group, nowMs)
  }

  #arm(nowMs: number): void {
    const nextMs = Math.min(...this.rings.map((ring) => ring.nextChangeMs(nowMs)))
    if (!Number.isFinite(nextMs)) return
    const delayMs = Math.max(nextMs - nowMs, this.#mayMake ? 1 : JOINING_PERIOD_MS)
    this.#timer = this.#clock.after(delayMs, () => this.#run())
  }
}

/** Calls the listeners of a group when a key came, went or is used in another way. */
function showChange(group: Group, nowMs: number): void {
  const view = group.ring.view(nowMs)
  const names = openedKeys(view).map(({ key }) => key.hexName)
  const shown = `${view.next.length} ${names.join()}`
  if (shown === group.shown) return
  group.shown = shown
  for (const listener of [...group.listeners]) listener()
}
