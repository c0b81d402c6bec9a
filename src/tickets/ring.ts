// The ring of one group: the keys that its terminators mint and open tickets with, and what happens to them. The ring
// reads no clock and arms no timer: every call is given the monotonic time of the node.

import { by, type CountsOf, counter, one, zeros } from '../base/counters.ts'
import type { RandomSource } from '../base/world.ts'
import {
  MAX_RETIRED_NAMES,
  MAX_RING_KEYS,
  type OfferedKey,
  type RingOffer,
} from '../wire/ring-message.ts'
import type { KeptRing } from './kept-ring.ts'
import { type Holdings, judgeKeys, REFUSALS } from './merge.ts'
import { RetiredNames } from './retired-names.ts'
import {
  type AgedKey,
  isCertain,
  isKeyDue,
  keyDueMs,
  nextChangeMs,
  type RingView,
  viewOf,
} from './rule.ts'
import { TicketKey } from './ticket-key.ts'
import type { RingTimes } from './times.ts'

export interface RingOptions {
  readonly group: string
  readonly times: RingTimes
  /** Identifies this node among its peers; it decides which node makes the next key. */
  readonly nodeId: Uint8Array
  readonly random: RandomSource
}

const MADE = counter(
  'ticket_generation_total',
  'Ticket keys that came into a ring, by their maker.',
)

/** What a ring counts from the start of the process. */
export const RING_COUNTERS = {
  madeHere: one(MADE, { origin: 'self' }),
  /** Keys that peers made and this node accepted. */
  fromPeers: one(MADE, { origin: 'peer' }),
  retired: one(
    counter('ticket_retired_total', 'Ticket keys retired by age, by a peer or by revocation.'),
  ),
  refused: by(
    'reason',
    REFUSALS,
    counter('ticket_refused_total', 'Ticket keys of peers that were refused, by reason.'),
  ),
}

export type RingStats = CountsOf<typeof RING_COUNTERS>

export class TicketRing {
  readonly group: string
  readonly times: RingTimes
  readonly stats: RingStats = zeros(RING_COUNTERS)
  readonly #nodeId: Uint8Array
  readonly #random: RandomSource
  readonly #retired: RetiredNames
  #keys: AgedKey[] = []
  /** When this node last made a key because the ages of all others were in doubt. */
  #doubtedMs = Number.NEGATIVE_INFINITY

  constructor({ group, times, nodeId, random }: RingOptions) {
    this.group = group
    this.times = times
    this.#nodeId = nodeId
    this.#random = random
    this.#retired = new RetiredNames(times.rememberMs)
  }

  get keys(): readonly AgedKey[] {
    return this.#keys
  }

  /** The keys by use. It holds secrets that are erased later: lay them out at once and do not keep it. */
  view(nowMs: number): RingView {
    return viewOf(this.#keys, nowMs, this.times)
  }

  /**
   * The next monotonic moment at which `tick` has something to do or the view changes; in the past when something is
   * overdue, Infinity for an empty ring.
   */
  nextChangeMs(nowMs: number): number {
    return nextChangeMs(this.#keys, nowMs, this.times, this.#nodeId)
  }

  /** The monotonic moment at which this node makes the next key unless it hears of one; undefined for an empty ring. */
  get keyDueMs(): number | undefined {
    return keyDueMs(this.#keys, this.times, this.#nodeId)
  }

  /**
   * Retires the keys that are over age and makes the next one when it is due. A node that has not asked its peers yet
   * (`mayMake` false) makes none. Returns whether a key came or went.
   */
  tick(nowMs: number, mayMake: boolean): boolean {
    this.#retired.forgetOld(nowMs)
    const before = this.#keys.length
    this.#retireWhere(({ bornMs }) => nowMs - bornMs >= this.times.openMs, nowMs)
    const isChanged = this.#keys.length < before
    if (!mayMake || !isKeyDue(this.#keys, nowMs, this.times, this.#nodeId)) return isChanged
    if (this.#keys.length > 0 && !this.#keys.some(isCertain)) this.#doubtedMs = nowMs
    this.#make(nowMs, 0)
    return true
  }

  /**
   * Makes a key although none is due. With `isImmediate` it counts as one that has waited, so that tickets are made
   * with it as soon as neighbours have had time to hear of it. With `isRevoking`, which implies that, all other keys are
   * retired here and, when they hear of it, on all other nodes: the new key is minted at once, and full handshakes
   * follow.
   */
  rotate(nowMs: number, options: { isImmediate: boolean; isRevoking: boolean }): void {
    if (options.isRevoking) this.#retireWhere(() => true, nowMs)
    this.#make(nowMs, options.isImmediate || options.isRevoking ? this.times.waitMs : 0)
  }

  /**
   * Notes that the machine was suspended for about `sleptMs`, which the monotonic clock does not count: all keys are so
   * much older, or the time of day was only set. Until a peer that was awake tells their ages, they are minted only when
   * there is no other, and `tick` makes one. For an interval after that no doubt counts, so that a time of day that jumps
   * back and forth makes no key after the other. What is less than the jitter makes no difference.
   */
  doubt(nowMs: number, sleptMs: number): void {
    const { jitterMs, rotateMs } = this.times
    if (sleptMs < jitterMs || nowMs - this.#doubtedMs < rotateMs) return
    this.#keys = this.#keys.map((one) => ({ ...one, isDoubted: true }))
  }

  /** What this node holds, for a peer. The secrets are copies: the caller erases them when they are sent. */
  offer(nowMs: number): RingOffer {
    const keys = this.#keys.map(({ key, bornMs, isDoubted }) => ({
      name: Buffer.from(key.name),
      secret: Buffer.from(key.secret),
      ageMs: Math.max(0, Math.floor(nowMs - bornMs)),
      ...(isDoubted === true && { isDoubted }),
    }))
    return { group: this.group, keys, retired: this.#retired.list(nowMs) }
  }

  /**
   * Takes over what a peer holds: keys that are new here, the greater of two ages, and the names of retired keys.
   * What it refuses is counted. Returns whether a key came or went or changed its age; then call `tick`, since a ring
   * that lost all of its keys needs one.
   */
  merge(nowMs: number, { keys, retired }: RingOffer): boolean {
    const { refused } = this.stats
    if (retired.length > MAX_RETIRED_NAMES) {
      refused.flood += 1
      return false
    }
    const verdicts = judgeKeys(keys, this.#holdings())
    if (verdicts === undefined) {
      refused.flood += 1
      return false
    }
    let isChanged = false
    for (const [index, one] of keys.entries()) {
      const verdict = verdicts[index] ?? 'flood'
      if (verdict === 'new') this.#accept(one, nowMs)
      else if (verdict === 'known') isChanged = this.#growOlder(one, nowMs) || isChanged
      else refused[verdict] += 1
      isChanged ||= verdict === 'new'
    }
    for (const one of retired) if (!this.#retired.addFromPeer(one, nowMs)) refused.flood += 1
    const before = this.#keys.length
    this.#retireWhere(({ key }) => this.#retired.has(key.hexName), nowMs)
    return isChanged || this.#keys.length < before
  }

  /** Everything that the ring holds, for the time after a restart. It shares the secrets: lay them out at once. */
  kept(): KeptRing {
    return { keys: this.#keys, retired: this.#retired.moments() }
  }

  /**
   * Takes over what an earlier process of this node held, with the moments at which that came to know of each key. A key
   * that would be refused from a peer is left out; what this ring holds already stays as it is. When the machine was
   * suspended meanwhile, the ages are in doubt, as with `doubt`.
   */
  restore(nowMs: number, { keys, retired, sleptMs = 0 }: KeptRing): void {
    for (const { name, retiredMs } of retired)
      this.#retired.addFromPeer({ name, ageMs: Math.max(0, nowMs - retiredMs) }, nowMs)
    const offered = keys.map(({ key, bornMs }) => {
      return { name: key.name, secret: key.secret, ageMs: Math.max(0, nowMs - bornMs) }
    })
    const verdicts = judgeKeys(offered, this.#holdings()) ?? []
    for (const [index, { key, bornMs, knownMs, isDoubted: wasDoubted }] of keys.entries()) {
      if (verdicts[index] !== 'new') continue
      const isDoubted = wasDoubted === true || sleptMs >= this.times.jitterMs
      const own = TicketKey.from(key.name, key.secret, key.origin)
      this.#keys.push({
        key: own,
        bornMs: Math.min(bornMs, nowMs),
        knownMs: Math.min(knownMs, nowMs),
        ...(isDoubted && { isDoubted }),
      })
    }
  }

  /** Erases all secrets: the ring holds nothing any more. */
  close(): void {
    for (const { key } of this.#keys) key.erase()
    this.#keys = []
  }

  #holdings(): Holdings {
    return {
      keys: this.#keys,
      openMs: this.times.openMs,
      isRetired: (hexName) => this.#retired.has(hexName),
    }
  }

  #make(nowMs: number, ageMs: number): void {
    if (this.#keys.length >= MAX_RING_KEYS) this.#retireOldest(nowMs)
    const takenBytes = new Set(this.#keys.map(({ key }) => key.firstNameByte))
    const key = TicketKey.generate(this.#random, takenBytes)
    this.#keys.push({ key, bornMs: nowMs - ageMs, knownMs: nowMs })
    this.stats.madeHere += 1
  }

  #accept({ name, secret, ageMs, isDoubted }: OfferedKey, nowMs: number): void {
    this.#keys.push({
      key: TicketKey.from(name, secret, 'peer'),
      bornMs: nowMs - ageMs,
      knownMs: nowMs,
      ...(isDoubted === true && { isDoubted }),
    })
    this.stats.fromPeers += 1
  }

  /** Gives a key the age that a peer knows when that is greater, and ends the doubt of it when the peer has none. */
  #growOlder({ name, ageMs, isDoubted }: OfferedKey, nowMs: number): boolean {
    const hexName = name.toString('hex')
    const index = this.#keys.findIndex((one) => one.key.hexName === hexName)
    const held = this.#keys[index]
    if (held === undefined) return false
    const { isDoubted: wasDoubted, ...rest } = held
    const isStillDoubted = wasDoubted === true && isDoubted === true
    const bornMs = Math.min(held.bornMs, nowMs - ageMs)
    if (bornMs === held.bornMs && isStillDoubted === (wasDoubted === true)) return false
    this.#keys[index] = { ...rest, bornMs, ...(isStillDoubted && { isDoubted: true }) }
    return true
  }

  #retireOldest(nowMs: number): void {
    const { current } = this.view(nowMs)
    const others = this.#keys.filter((one) => one !== current)
    const oldest = others.reduce<AgedKey | undefined>(
      (a, b) => (a === undefined || b.bornMs < a.bornMs ? b : a),
      undefined,
    )
    this.#retireWhere((one) => one === oldest, nowMs)
  }

  #retireWhere(isOver: (one: AgedKey) => boolean, nowMs: number): void {
    const kept: AgedKey[] = []
    for (const one of this.#keys) {
      if (!isOver(one)) {
        kept.push(one)
        continue
      }
      if (!this.#retired.has(one.key.hexName)) this.#retired.add(one.key.hexName, nowMs)
      one.key.erase()
      this.stats.retired += 1
    }
    this.#keys = kept
  }
}
