// What is known of one boot of another node: its keys, what arrived from it, where it is, and whether it is alive.

import { type HostAddress, isSameAddress } from '../../base/address.ts'
import type { Form, Header } from '../../wire/datagram.ts'
import { type Boot, bootKeyOf, originOf } from '../../wire/identity.ts'
import type { Keyring } from '../../wire/keyring.ts'
import type { Role } from '../../wire/message.ts'
import { ReplayWindow } from '../../wire/replay-window.ts'
import { Opener } from '../../wire/seal.ts'
import { GapList } from '../repair/gap-list.ts'

/** The shortest round trip of the running period and of the one before counts, so a single slow one never does. */
const CLOCK_PERIOD_MS = 30_000

/** Changes wait to be taken when they take this much longer than half the shortest round trip. */
const PRESSING_WAIT_MS = 20
/** Nothing waits when no changes arrived for this long. */
const PRESSING_PAUSE_MS = 200

/**
 * Control datagrams remembered whose first copy came from an unknown address; more than arrive in the seconds that a
 * proof takes.
 */
const MAX_STRAYS = 64

interface ClockSample {
  readonly roundTripMs: number
  readonly differenceMs: number
}

export class Sender {
  /** Key of the boot in maps, from `bootKeyOf`. */
  readonly key: string
  readonly senderId: Buffer
  readonly bootId: Buffer
  /** Origin of the changes that this boot made itself. */
  readonly origin: number
  readonly control = new ReplayWindow()
  /**
   * Window of the changes; undefined until the sender is verified. It starts at the sequence number of that moment:
   * earlier ones are stale.
   */
  changes: ReplayWindow | undefined
  /** Gaps in its changes that are still to be repaired. */
  readonly gaps = new GapList()
  /** Source of the first datagram; not proven, as anybody may have sent a recording from there. */
  readonly #firstAddress: HostAddress
  #provenAddress: HostAddress | undefined
  /**
   * Source of the first copy of control datagrams that came from an address where the sender is not known to be, by
   * sequence number.
   */
  readonly #strays = new Map<number, HostAddress>()
  nodeName = ''
  /** TCP port where it accepts connections for copies and comparisons; undefined where it does not. */
  syncPort: number | undefined
  /** Hash of its rings of ticket keys in its last greeting since it was verified; undefined where it has none. */
  ringsHash: Buffer | undefined
  /** Role in its last greeting; undefined for a plain node. */
  role: Role | undefined
  /** Highest protocol version that it knows, from its last greeting. */
  version = 1
  /** Largest datagram in bytes that the path to it carries; undefined unless larger ones were lost again and again. */
  pathBytes: number | undefined
  readonly firstHeardMs: number
  lastHeardMs: number
  /** When a datagram last came from the proven address. */
  lastHeardThereMs = Number.NEGATIVE_INFINITY
  lastChallengedMs = Number.NEGATIVE_INFINITY
  /** When we last answered a challenge of this sender. */
  lastAnsweredMs = Number.NEGATIVE_INFINITY
  entriesReceived = 0
  /** Datagrams with changes that arrived after they were asked for again. */
  repairedCount = 0
  #lagMs: number | undefined
  /** Time of the last `noteLag`. */
  #newestMs = Number.NEGATIVE_INFINITY
  #floor = 0
  /** Shortest round trips: of the running period, then of the period before. */
  #clockSamples: ClockSample[] = []
  #clockPeriodMs = Number.NEGATIVE_INFINITY
  #reportedLost = 0
  /** Openers by form and key ID, of the keys of `#openersOf`. */
  readonly #openers: Record<Form, Map<number, Opener>> = { 1: new Map(), 2: new Map() }
  #openersOf: Keyring | undefined

  constructor(boot: Boot, from: HostAddress, nowMs: number) {
    this.senderId = Buffer.from(boot.senderId)
    this.bootId = Buffer.from(boot.bootId)
    this.key = bootKeyOf(boot)
    this.origin = originOf(this.bootId)
    this.#firstAddress = from
    this.firstHeardMs = nowMs
    this.lastHeardMs = nowMs
  }

  /** Last address from which it answered a challenge that was sent to that very address; undefined before. */
  get provenAddress(): HostAddress | undefined {
    return this.#provenAddress
  }

  /** Address for display: the proven one, or that of the first datagram as long as none is proven. */
  get address(): HostAddress {
    return this.#provenAddress ?? this.#firstAddress
  }

  isProvenAt(address: HostAddress): boolean {
    return this.#provenAddress !== undefined && isSameAddress(this.#provenAddress, address)
  }

  /** Notes that it answered from `address` a challenge that was sent to `address`. */
  prove(address: HostAddress, nowMs: number): void {
    this.#provenAddress = address
    this.lastHeardThereMs = nowMs
  }

  /** Notes the arrival of a datagram of the sender that was no replay. */
  hear(from: HostAddress, nowMs: number): void {
    this.lastHeardMs = nowMs
    if (this.isProvenAt(from)) this.lastHeardThereMs = nowMs
  }

  /**
   * Whether to take a control datagram: at its first arrival, and once more when its first copy came from an address
   * where the sender is not known to be. So an attacker who is faster with copies from another address cannot make the
   * sender's own datagram a replay. `isKnown`: this node sends to `from`.
   */
  acceptControl(sequence: number, from: HostAddress, isKnown: boolean): boolean {
    const isBelieved = isKnown || this.isProvenAt(from)
    if (this.control.accept(sequence) === 'new') {
      if (!isBelieved) this.#noteStray(sequence, from)
      return true
    }
    const first = this.#strays.get(sequence)
    if (first === undefined || isSameAddress(first, from)) return false
    if (!isBelieved && this.#provenAddress !== undefined) return false
    return this.#strays.delete(sequence)
  }

  #noteStray(sequence: number, from: HostAddress): void {
    this.#strays.set(sequence, from)
    const [oldest] = this.#strays.keys()
    if (this.#strays.size > MAX_STRAYS && oldest !== undefined) this.#strays.delete(oldest)
  }

  /** The opener for the key and form in the header; undefined when the ring has no such key. */
  openerFor({ keyId, form }: Header, keyring: Keyring): Opener | undefined {
    if (keyring !== this.#openersOf) {
      this.#openers[1].clear()
      this.#openers[2].clear()
      this.#openersOf = keyring
    }
    const openers = this.#openers[form]
    const known = openers.get(keyId)
    if (known !== undefined) return known
    const key = keyring.senderKey(keyId, this.senderId, this.bootId, form)
    if (key === undefined) return undefined
    const opener = new Opener(key)
    openers.set(keyId, opener)
    return opener
  }

  /** Prepares to open the next changes, as if they were sealed under the same key as this datagram; form 1 only. */
  prepareFor({ keyId, form }: Header): void {
    if (this.changes === undefined || form !== 1) return
    this.#openers[form].get(keyId)?.prepare(this.changes.highest + 1)
  }

  /** Whether it is a repeater: it passes on what others send and makes no changes of its own. */
  get isRepeater(): boolean {
    return this.role === 'repeater'
  }

  get isVerified(): boolean {
    return this.changes !== undefined
  }

  /** Whether it is verified and at a proven address, so that NACKs, connections and repairs can go there. */
  get isReachable(): boolean {
    return this.isVerified && this.#provenAddress !== undefined
  }

  /** Notes that it answered a challenge, when its last datagram with changes had the sequence number `floor`. */
  verify(floor: number): void {
    this.#floor = floor
    this.changes = new ReplayWindow(floor)
  }

  /** Whether the datagram with changes was sent before the sender proved that it is alive. */
  isStale(sequence: number): boolean {
    return sequence <= this.#floor
  }

  /** Takes the difference of the clocks from a round trip, unless a shorter one of this period is known. */
  measureClock(wallMs: number, ownWallMs: number, roundTripMs: number, nowMs: number): void {
    const differenceMs = Math.round(wallMs + roundTripMs / 2 - ownWallMs)
    const [running, last] = this.#clockSamples
    const sample = { roundTripMs, differenceMs }
    if (nowMs - this.#clockPeriodMs >= CLOCK_PERIOD_MS) {
      this.#clockPeriodMs = nowMs
      this.#clockSamples = running === undefined ? [sample] : [sample, running]
    } else if (running === undefined || roundTripMs <= running.roundTripMs) {
      this.#clockSamples = last === undefined ? [sample] : [sample, last]
    }
  }

  /** Notes that its newest changes arrived now, `lagMs` after they were sealed. */
  noteLag(lagMs: number, nowMs: number): void {
    this.#lagMs = lagMs
    this.#newestMs = nowMs
  }

  /** Lag in milliseconds of the newest changes, so of no retransmitted ones; undefined before the first. */
  get lagMs(): number | undefined {
    return this.#lagMs
  }

  /** Its wall clock minus ours in milliseconds; undefined until measured. */
  get clockDifferenceMs(): number | undefined {
    return this.#bestSample?.differenceMs
  }

  /** Shortest round trip in milliseconds of this period of 30 s and the one before; 0 before the first. */
  get roundTripMs(): number {
    return this.#bestSample?.roundTripMs ?? 0
  }

  /**
   * Milliseconds that an answer takes now: half a round trip there, and back as long as the newest changes took. In an
   * overloaded receiver most of that is spent in its own socket.
   */
  get answerMs(): number {
    return Math.max(this.roundTripMs, this.roundTripMs / 2 + (this.lagMs ?? 0))
  }

  /**
   * Whether its changes now come so fast that they wait here: a comparison would take time from them, and miss what is
   * lost while it runs.
   */
  isPressing(nowMs: number): boolean {
    const waitedMs = (this.lagMs ?? 0) - this.roundTripMs / 2
    return waitedMs > PRESSING_WAIT_MS && nowMs - this.#newestMs < PRESSING_PAUSE_MS
  }

  get #bestSample(): ClockSample | undefined {
    const [running, last] = this.#clockSamples
    if (running === undefined || last === undefined) return running
    return last.roundTripMs < running.roundTripMs ? last : running
  }

  get lostCount(): number {
    return this.changes?.lostCount ?? 0
  }

  /** Datagrams lost since the last call. */
  takeLost(): number {
    const lost = this.lostCount - this.#reportedLost
    this.#reportedLost += lost
    return lost
  }
}

/**
 * The message in a datagram, opened with the keys that `known` has derived, or with a key derived for this datagram
 * only; undefined when no key of the ring opens it.
 */
export function openFrom(
  known: Sender | undefined,
  datagram: Buffer,
  header: Header,
  keyring: Keyring,
): Buffer | undefined {
  if (known !== undefined) return known.openerFor(header, keyring)?.open(datagram, header)
  const key = keyring.senderKey(header.keyId, header.senderId, header.bootId, header.form)
  return key === undefined ? undefined : new Opener(key).open(datagram, header)
}

// The senders whose datagrams authenticated. The table is bounded: recorded traffic of many boots must neither fill the
// memory nor push out senders that proved to be alive.

export const MAX_SENDERS = 1024
/**
 * A boot that is silent for longer than this is forgotten when a newer boot of its node is verified; a running node
 * greets more often.
 */
const REPLACED_AFTER_MS = 5000
/** A boot that has not answered a challenge after this time is forgotten. */
const UNVERIFIED_LIFETIME_MS = 5000
/** A boot that was silent for this long is forgotten; when it comes back, it has to prove again that it is alive. */
const SILENT_LIFETIME_MS = 300_000

export class SenderTable {
  readonly #senders = new Map<string, Sender>()
  readonly #onForget: (sender: Sender) => void

  /** `onForget` is called with every sender that is removed. */
  constructor(onForget: (sender: Sender) => void) {
    this.#onForget = onForget
  }

  get size(): number {
    return this.#senders.size
  }

  get(header: Header): Sender | undefined {
    return this.#senders.get(header.bootKey)
  }

  /** Adds the sender of a datagram that authenticated. A full table first forgets the least valuable sender. */
  add(header: Header, from: HostAddress, nowMs: number): Sender {
    if (this.#senders.size >= MAX_SENDERS) this.#forgetOne()
    const sender = new Sender(header, from, nowMs)
    this.#senders.set(sender.key, sender)
    return sender
  }

  /**
   * Forgets senders that never answered a challenge and senders that are silent, the latter sooner when their node was
   * restarted.
   */
  sweep(nowMs: number): void {
    for (const sender of this.#senders.values()) {
      const isDead = !sender.isVerified && nowMs - sender.firstHeardMs > UNVERIFIED_LIFETIME_MS
      const isSilent = nowMs - sender.lastHeardMs > SILENT_LIFETIME_MS
      if (isDead || isSilent || this.#isReplaced(sender, nowMs)) this.#forget(sender)
    }
  }

  values(): IterableIterator<Sender> {
    return this.#senders.values()
  }

  /** Whether the sender is silent and a verified boot of the same node was heard later. */
  #isReplaced(sender: Sender, nowMs: number): boolean {
    if (nowMs - sender.lastHeardMs <= REPLACED_AFTER_MS) return false
    for (const other of this.#senders.values()) {
      const isNewerBoot =
        other.isVerified &&
        other.senderId.equals(sender.senderId) &&
        other.lastHeardMs > sender.lastHeardMs
      if (isNewerBoot) return true
    }
    return false
  }

  #forgetOne(): void {
    let victim: Sender | undefined
    for (const sender of this.#senders.values()) {
      if (victim === undefined || isLessWorth(sender, victim)) victim = sender
    }
    if (victim !== undefined) this.#forget(victim)
  }

  #forget(sender: Sender): void {
    this.#senders.delete(sender.key)
    this.#onForget(sender)
  }
}

function isLessWorth(a: Sender, b: Sender): boolean {
  if (a.isVerified !== b.isVerified) return !a.isVerified
  return a.lastHeardMs < b.lastHeardMs
}
