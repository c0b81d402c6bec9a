// The ticket-key authority of a node: runs the rings of all groups by the clock, tells those who use the keys of every
// change, and is what the connection between nodes swaps rings with.

import type { Clock, RandomSource, Timer } from '../base/world.ts'
import { hashRings, type RingOffer } from '../wire/ring-message.ts'
import type { KeptRing } from './kept-ring.ts'
import { TicketRing } from './ring.ts'
import { openedKeys, type RingView } from './rule.ts'
import { type RingTimes, SPREAD_MS } from './times.ts'

/** While a node may not make keys, it looks at its rings no more often than this. */
const JOINING_PERIOD_MS = 1000
/** A time of day that is set by less than this is no sign that the machine was suspended. */
const SHORTEST_SLEEP_MS = 5000
/** A timer that is later than this is a sign that the process was stopped, or as good as that. */
const LONGEST_DELAY_MS = 1000
/** After a suspension the peers have so much time to tell of keys and their ages before a new one is made. */
const ASKING_MS = 4000
/** A node that kept its rings leaves the next key to its peers for so long and the jitter, before it makes one. */
const LEAVING_MS = SPREAD_MS

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
  /** No key is made before this moment. */
  #makeFromMs = Number.NEGATIVE_INFINITY
  /** Until this monotonic moment only a ring without keys gets one here. */
  #leavesUntilMs = Number.NEGATIVE_INFINITY
  /** By how much the time of day was ahead of the monotonic clock at the last look. */
  #aheadMs: number
  #isStopped = false
  #timer: Timer | undefined
  /** When the timer is due, while this node may make keys; otherwise Infinity. */
  #timerMs = Number.POSITIVE_INFINITY

  constructor({ groups, nodeId, clock, random }: AuthorityOptions) {
    this.#clock = clock
    this.#aheadMs = clock.wallMs() - clock.monotonicMs()
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

  /**
   * From here on this node makes keys: its peers have been asked, or nobody answered in time. Idempotent.
   *
   * A node that has rings of an earlier process and heard no peer is in no hurry: a key beside the one of a peer that was
   * only slow would be one more than some terminators have room for.
   */
  mayMake(): void {
    if (this.#isStopped) return
    if (this.#kept.size > 0) {
      const jitterMs = Math.max(...this.rings.map(({ times }) => times.jitterMs))
      this.#leavesUntilMs = this.#clock.monotonicMs() + jitterMs + LEAVING_MS
      this.#takeKept()
    }
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

  /** Looks whether the machine was suspended, so that a node that nobody calls notices it, too. */
  wake(): void {
    if (this.#isStopped) return
    this.#noticeSleep()
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
    this.#noticeSleep()
    const nowMs = this.#clock.monotonicMs()
    return this.rings.map((ring) => ring.offer(nowMs))
  }

  /** Takes over what a peer holds. What is refused is counted by the rings. */
  merge(offers: readonly RingOffer[]): void {
    if (this.#isStopped) return
    this.#noticeSleep()
    if (offers.some(({ keys }) => keys.length > 0)) {
      this.#takeKept()
      this.#leavesUntilMs = Number.NEGATIVE_INFINITY
    }
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
    // A peer made the key that was due meanwhile: one more, so much later, has a turn that some terminators have no room for.
    if (nowMs > this.#timerMs + LONGEST_DELAY_MS) this.#makeFromMs = nowMs + ASKING_MS
    const mayMake = this.#mayMake && nowMs >= this.#makeFromMs
    const leaves = nowMs < this.#leavesUntilMs
    for (const { ring } of this.#groups.values()) {
      ring.tick(nowMs, mayMake && !leaves)
      if (leaves && ring.keys.length === 0) ring.tick(nowMs, mayMake)
    }
    // Armed first, so that a listener that throws does not end the rotation.
    this.#arm(nowMs, mayMake && !leaves)
    for (const group of this.#groups.values()) showChange(group, nowMs)
  }

  /**
   * Doubts the ages of keys when the time of day has run ahead of the monotonic clock, which stands still while the machine
   * is suspended. It looks before each ring is given or taken: what a peer took in between would be doubted by nobody.
   */
  #noticeSleep(): void {
    const nowMs = this.#clock.monotonicMs()
    const aheadMs = this.#clock.wallMs() - nowMs
    const sleptMs = aheadMs - this.#aheadMs
    this.#aheadMs = aheadMs
    if (sleptMs < SHORTEST_SLEEP_MS) return
    for (const { ring } of this.#groups.values()) ring.doubt(nowMs, sleptMs)
    this.#makeFromMs = nowMs + ASKING_MS
  }

  #arm(nowMs: number, mayMake: boolean): void {
    const nextMs = Math.min(...this.rings.map((ring) => ring.nextChangeMs(nowMs)))
    this.#timerMs = Number.POSITIVE_INFINITY
    if (!Number.isFinite(nextMs)) return
    const delayMs = Math.max(nextMs - nowMs, mayMake ? 1 : JOINING_PERIOD_MS)
    if (mayMake) this.#timerMs = nowMs + delayMs
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
