// One boot of another node, as far as we know it: keys, what arrived from it, whether it is alive.

import { type HostAddress, isSameAddress } from '../base/address.ts'
import type { Form, Header } from '../wire/datagram.ts'
import { type Boot, bootKeyOf, originOf } from '../wire/identity.ts'
import type { Keyring } from '../wire/keyring.ts'
import type { Role } from '../wire/message.ts'
import { ReplayWindow } from '../wire/replay-window.ts'
import { Opener } from '../wire/seal.ts'
import { GapList } from './gap-list.ts'

/** The best round trip of the running period and of the one before counts: a single bad one never does. */
const CLOCK_PERIOD_MS = 30_000

/** Changes wait for us when they take so much longer than the way of the shortest round trip. */
const PRESSING_WAIT_MS = 20
/** After so long without any, nothing waits. */
const PRESSING_PAUSE_MS = 200

/** Control datagrams whose first copy came from an unknown address; more than come in the seconds a proof takes. */
const MAX_STRAYS = 64

interface ClockSample {
  readonly roundTripMs: number
  readonly differenceMs: number
}

export class Sender {
  /** See `bootKeyOf`. */
  readonly key: string
  readonly senderId: Buffer
  readonly bootId: Buffer
  /** Origin of the changes that this boot made itself. */
  readonly origin: number
  readonly control = new ReplayWindow()
  /** Undefined until the sender is verified. Starts where it was then: what was sent before is stale. */
  changes: ReplayWindow | undefined
  /** What of its changes did not arrive yet. */
  readonly gaps = new GapList()
  /** Where the datagram came from that made it known; anybody may have sent it from there. */
  readonly #firstAddress: HostAddress
  #provenAddress: HostAddress | undefined
  /** First sources of control datagrams that came from an address where the sender is not known to be, by sequence. */
  readonly #strays = new Map<number, HostAddress>()
  nodeName = ''
  /** TCP port where it synchronizes; undefined where it does not. */
  syncPort: number | undefined
  /** As its last greeting said. */
  role: Role | undefined
  /** The highest version of the protocol that it knows, as its last greeting said. */
  version = 1
  /** The largest datagram that the path to it carries, where larger ones were lost again and again. */
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
  /** When the newest changes arrived. */
  #newestMs = Number.NEGATIVE_INFINITY
  #floor = 0
  /** The best of the running period and of the last one. */
  #clockSamples: ClockSample[] = []
  #clockPeriodMs = Number.NEGATIVE_INFINITY
  #reportedLost = 0
  /** By key ID. */
  readonly #openers: Record<Form, Map<number, Opener>> = { 1: new Map(), 2: new Map() }

  constructor(boot: Boot, from: HostAddress, nowMs: number) {
    this.senderId = Buffer.from(boot.senderId)
    this.bootId = Buffer.from(boot.bootId)
    this.key = bootKeyOf(boot)
    this.origin = originOf(this.bootId)
    this.#firstAddress = from
    this.firstHeardMs = nowMs
    this.lastHeardMs = nowMs
  }

  /** An address from which it answered a challenge that was sent to that very address; undefined until it did. */
  get provenAddress(): HostAddress | undefined {
    return this.#provenAddress
  }

  /** For display: the proven address, or the first one as long as none is proven. */
  get address(): HostAddress {
    return this.#provenAddress ?? this.#firstAddress
  }

  isProvenAt(address: HostAddress): boolean {
    return this.#provenAddress !== undefined && isSameAddress(this.#provenAddress, address)
  }

  /** Notes that it answered from `address` a challenge that was sent there. */
  prove(address: HostAddress, nowMs: number): void {
    this.#provenAddress = address
    this.lastHeardThereMs = nowMs
  }

  /** Notes a datagram of it that was no replay. */
  hear(from: HostAddress, nowMs: number): void {
    this.lastHeardMs = nowMs
    if (this.isProvenAt(from)) this.lastHeardThereMs = nowMs
  }

  /**
   * Whether a control datagram is to be taken: when it arrives for the first time, and once more when its first
   * copy came from an address where the sender is not known to be. So somebody who is faster with copies from
   * another address cannot make the sender's own datagram a replay. `isKnown`: `from` is an address that this node
   * would send to.
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

  /** Opens what it seals under this key of the ring; undefined when there is no such key. */
  openerFor({ keyId, form }: Header, keyring: Keyring): Opener | undefined {
    const openers = this.#openers[form]
    const known = openers.get(keyId)
    if (known !== undefined) return known
    const key = keyring.senderKey(keyId, this.senderId, this.bootId, form)
    if (key === undefined) return undefined
    const opener = new Opener(key)
    openers.set(keyId, opener)
    return opener
  }

  /** Makes ready to open the changes that come next, if they are sealed in form 1 and under the same key as these. */
  prepareFor({ keyId, form }: Header): void {
    if (this.changes === undefined || form !== 1) return
    this.#openers[form].get(keyId)?.prepare(this.changes.highest + 1)
  }

  /** After a change of the keyring. */
  forgetKeys(): void {
    this.#openers[1].clear()
    this.#openers[2].clear()
  }

  /** Passes on what others send, and has nothing of its own. */
  get isRepeater(): boolean {
    return this.role === 'repeater'
  }

  get isVerified(): boolean {
    return this.changes !== undefined
  }

  /** Verified, and at a known address: it can be asked, called and sent repairs. */
  get isReachable(): boolean {
    return this.isVerified && this.#provenAddress !== undefined
  }

  /** It answered a challenge when its last datagram with changes had the sequence `floor`. */
  verify(floor: number): void {
    this.#floor = floor
    this.changes = new ReplayWindow(floor)
  }

  /** Whether a datagram with changes was sent before the sender proved to be alive. */
  isStale(sequence: number): boolean {
    return sequence <= this.#floor
  }

  /** Takes the difference of the clocks from a round trip, unless a shorter one is still valid. */
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

  /** Its newest changes so far arrived now and took that long. */
  noteLag(lagMs: number, nowMs: number): void {
    this.#lagMs = lagMs
    this.#newestMs = nowMs
  }

  /** Of the newest changes that arrived, so of none that were asked for again; undefined until some did. */
  get lagMs(): number | undefined {
    return this.#lagMs
  }

  /** Its wall clock minus ours; undefined until measured. */
  get clockDifferenceMs(): number | undefined {
    return this.#bestSample?.differenceMs
  }

  /** The shortest of the last half minute or longer; 0 before the first. */
  get roundTripMs(): number {
    return this.#bestSample?.roundTripMs ?? 0
  }

  /**
   * How long an answer of it takes now: there by half a round trip, back behind all that is on its way here, as what
   * came last was. In an overloaded receiver most of that is spent in its own socket.
   */
  get answerMs(): number {
    return Math.max(this.roundTripMs, this.roundTripMs / 2 + (this.lagMs ?? 0))
  }

  /**
   * Whether its changes come so fast now that they wait: a comparison would take time that they need, and miss what is
   * lost while it lasts.
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

/** The message in a datagram with this header; undefined when it was not sealed under a key of the ring. */
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
