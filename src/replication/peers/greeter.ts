// Greetings: how a node finds out which others are alive, and proves to them that it is. A node that answers a fresh
// challenge is verified: changes are taken from it after the sequence number in its answer.

import { formatAddress, type HostAddress } from '../../base/address.ts'
import { type Clock, every, type RandomSource, type Timer } from '../../base/world.ts'
import { SEAL_OVERHEAD_BYTES } from '../../wire/datagram.ts'
import {
  CHALLENGE_BYTES,
  encodeGreeting,
  GREETING_BYTES,
  type GreetingMessage,
  PROTOCOL_VERSION,
  type Role,
} from '../../wire/message.ts'
import { RINGS_HASH_BYTES } from '../../wire/ring-message.ts'
import type { Sender } from '../live/senders.ts'
import { type Sending, send } from '../live/sending.ts'
import type { DropReason } from '../stats.ts'
import { PeerAddress, SILENCE_MS } from './addresses.ts'
import type { PeerLimits } from './limits.ts'

/**
 * Bytes of every greeting datagram. Only a datagram of at least this length may be answered with one, so that nobody
 * gets back more than was sent.
 */
export const GREETING_DATAGRAM_BYTES = GREETING_BYTES + SEAL_OVERHEAD_BYTES
/**
 * Bytes in a greeting for its node name and caches: all but the other fields, the nonce of form 2 and the shortest
 * padding.
 */
const CACHES_BYTES = GREETING_BYTES - 84 - 131
/** Bytes of the hash of rings in a greeting, with tag and length. */
const RINGS_BYTES = 2 + RINGS_HASH_BYTES
/**
 * Period of greetings to addresses where nobody answers and to repeaters, and of challenges to an unverified sender.
 */
export const GREETING_PERIOD_MS = 1000
/** Period of greetings to an address where a node answered the last one, and to an own address. */
const LIVENESS_PERIOD_MS = 3000
/** A greeting that is due within this time is sent now, because timers run a little early or late. */
const PERIOD_SLACK_MS = 100
/** Answers to one sender per GREETING_PERIOD_MS; it needs one or two. */
const MAX_ANSWERS_PER_ROUND = 10

export interface GreeterOptions extends Sending {
  readonly nodeName: string
  /** TCP port for copies and comparisons; 0 where this node does not listen for them. */
  readonly syncPort: () => number
  readonly random: RandomSource
  /** Limits of this node's caches; absent where it stores nothing. */
  readonly limits?: PeerLimits
  /** The hash of this node's rings of ticket keys, and what is called with a sender whose greeting has one. */
  readonly rings?: GreetedRings | undefined
  /** Greetings of nodes whose highest protocol version is lower are dropped; default 1. */
  readonly minimumVersion?: number
  /** Role to send in a greeting to this address. */
  readonly roleTo: (address: HostAddress) => Role | undefined
  /**
   * Whether every answer carries a challenge, and an answer from another address than its challenge was sent to is
   * ignored: a repeater wants a fresh proof of the address each time.
   */
  readonly mustProveAddress?: boolean
  /**
   * Called when a sender answered a challenge from the address it was sent to, now its `provenAddress`. `isFirst`: it
   * had no proven address before.
   */
  readonly onProven: (sender: Sender, isFirst: boolean) => void
  /** Called when a sender proved for the first time that it is alive; changes up to this sequence number are stale. */
  readonly onVerified: (sender: Sender, changesSequence: number) => void
  /** Called after each round of greetings, every GREETING_PERIOD_MS. */
  readonly onRound: () => void
}

export interface GreetedRings {
  hash(): Buffer
  greet(sender: Sender): void
}

/** Target of a challenge: a sender that was heard, or an address where one may be. */
type Target = Sender | PeerAddress

export class Greeter {
  readonly #options: GreeterOptions
  readonly #challenges: Challenges<Target>
  /** Answers sent since the last round. */
  readonly #answers = new Map<Sender, number>()
  #timer: Timer | undefined

  constructor(options: GreeterOptions) {
    this.#options = options
    this.#challenges = new Challenges(options.clock, options.random)
  }

  start(): void {
    if (this.#timer !== undefined) return
    this.#timer = every(this.#options.clock, GREETING_PERIOD_MS, () => this.#round())
    this.greetAddresses()
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  /** Greets every address whose period is over; does nothing unless started. */
  greetAddresses(): void {
    if (this.#timer === undefined) return
    const nowMs = this.#options.clock.monotonicMs()
    for (const peer of this.#options.addresses.all) {
      const isAnswered = peer.sender !== undefined && peer.lastAnsweredMs >= peer.lastGreetedMs
      // A subscription to a repeater has to be renewed all the time.
      const isSteady = (isAnswered && peer.kind !== 'repeater') || peer.isOwn(nowMs)
      const periodMs = isSteady ? LIVENESS_PERIOD_MS : GREETING_PERIOD_MS
      if (nowMs - peer.lastGreetedMs < periodMs - PERIOD_SLACK_MS) continue
      peer.lastGreetedMs = nowMs
      this.#send(peer.address, this.#challenges.issue(peer, peer.address), undefined)
      peer.lastGreetedSequence = this.#options.sealer.lastSequence('control')
    }
  }

  /** Sends a challenge to a sender that is not yet verified at this address; at most once per period. */
  challenge(sender: Sender, from: HostAddress): void {
    const nowMs = this.#options.clock.monotonicMs()
    const isDue = nowMs - sender.lastChallengedMs >= GREETING_PERIOD_MS - PERIOD_SLACK_MS
    if (!isDue || (sender.isVerified && sender.isProvenAt(from))) return
    sender.lastChallengedMs = nowMs
    this.#send(from, this.#challenges.issue(sender, from), undefined)
  }

  /** Handles a greeting that authenticated and was no replay; returns the reason when it is dropped. */
  receive(greeting: GreetingMessage, sender: Sender, from: HostAddress): DropReason | undefined {
    const { challenge, answer, nodeName, version = 1, caches = [], cacheCount = 0 } = greeting
    const { minimumVersion = 1, limits, rings } = this.#options
    sender.nodeName = nodeName
    sender.version = version
    if (version < minimumVersion) return 'version'
    sender.syncPort = greeting.syncPort ?? sender.syncPort
    sender.role = greeting.role
    const isAnswerWrong =
      answer !== undefined && !this.#receiveAnswer(greeting, answer, sender, from)
    // Only of a verified sender: a recorded greeting of an earlier boot has the limits and rings of that time.
    if (sender.isVerified) {
      limits?.receive(sender, { caches, cacheCount })
      // A copy: it outlives the datagram that it is a part of.
      sender.ringsHash = greeting.ringsHash && Buffer.from(greeting.ringsHash)
      rings?.greet(sender)
    }
    if (challenge !== undefined && !this.#answer(challenge, sender, from)) return 'queue_full'
    if (isAnswerWrong) return 'stale'
    if (challenge === undefined && answer !== undefined) this.challenge(sender, from)
    return undefined
  }

  /**
   * Handles an answer; false when its challenge is unknown or too old, or came from elsewhere where the address must be
   * proven.
   */
  #receiveAnswer(
    greeting: GreetingMessage,
    answer: Buffer,
    sender: Sender,
    from: HostAddress,
  ): boolean {
    const { clock, mustProveAddress, onVerified, onProven } = this.#options
    const challenge = this.#challenges.find(answer)
    if (challenge === undefined) return false
    const isFromThere = formatAddress(from) === formatAddress(challenge.to)
    if (mustProveAddress && !isFromThere) return false
    const nowMs = clock.monotonicMs()
    const isThere = isFromThere && this.#mayBeAt(sender, from, nowMs)
    const roundTripMs = nowMs - challenge.sentMs
    const isFirst = sender.provenAddress === undefined
    if (isThere) sender.prove(from, nowMs)
    sender.measureClock(greeting.sentWallMs, clock.wallMs(), roundTripMs, nowMs)
    this.#noteAnswerAt(challenge.target, sender, from, isThere)
    if (!sender.isVerified) onVerified(sender, greeting.changesSequence)
    if (isThere) onProven(sender, isFirst)
    return true
  }

  /**
   * Whether an answer from this address may prove it. An attacker that relays challenges to the sender, and its answers
   * back faster than they come directly, makes it seem to be elsewhere. So a sender that is heard at its proven address
   * cannot prove another one, unless a person configured it.
   */
  #mayBeAt(sender: Sender, from: HostAddress, nowMs: number): boolean {
    if (sender.provenAddress === undefined || sender.isProvenAt(from)) return true
    const kind = this.#options.addresses.kindOf(from)
    const isListed = kind === 'peer' || kind === 'repeater'
    return isListed || nowMs - sender.lastHeardThereMs > SILENCE_MS
  }

  /** Notes the answer at the address that was challenged; a contact only if the answer came from there. */
  #noteAnswerAt(target: Target, sender: Sender, from: HostAddress, isThere: boolean): void {
    const { addresses, clock } = this.#options
    if (!(target instanceof PeerAddress) || (target.kind === 'contact' && !isThere)) return
    const nowMs = clock.monotonicMs()
    target.answer(sender, from, nowMs)
    addresses.refresh(nowMs)
  }

  /** Answers a challenge; false when the sender got enough answers in this round. */
  #answer(challenge: Buffer, sender: Sender, from: HostAddress): boolean {
    const given = this.#answers.get(sender) ?? 0
    if (given >= MAX_ANSWERS_PER_ROUND) return false
    this.#answers.set(sender, given + 1)
    const { clock, mustProveAddress } = this.#options
    sender.lastAnsweredMs = clock.monotonicMs()
    // A challenge within an answer costs no extra datagram.
    const isKnown = sender.isVerified && sender.isProvenAt(from) && mustProveAddress !== true
    this.#send(from, isKnown ? undefined : this.#challenges.issue(sender, from), challenge)
    return true
  }

  #send(to: HostAddress, challenge: Buffer | undefined, answer: Buffer | undefined): void {
    const { nodeName, sealer, clock, limits, rings } = this.#options
    const syncPort = this.#options.syncPort()
    const role = this.#options.roleTo(to)
    const cachesBytes = CACHES_BYTES - (rings === undefined ? 0 : RINGS_BYTES)
    const greeting = {
      challenge,
      answer,
      changesSequence: sealer.lastSequence('changes'),
      sentWallMs: clock.wallMs(),
      nodeName,
      ...(syncPort === 0 ? {} : { syncPort }),
      ...(role === undefined ? {} : { role }),
      version: PROTOCOL_VERSION,
      ...limits?.tell(Math.max(0, cachesBytes - Buffer.byteLength(nodeName))),
      ...(rings === undefined ? {} : { ringsHash: rings.hash() }),
    }
    // A greeting datagram has one size in both forms.
    const message = encodeGreeting(greeting, GREETING_DATAGRAM_BYTES - sealer.overheadBytes)
    send(this.#options, sealer.seal('control', message), to)
  }

  #round(): void {
    this.#answers.clear()
    this.greetAddresses()
    this.#options.onRound()
  }
}

// The random challenges in flight: a node that returns one was alive after it was sent.

/** An answer that comes later than this is ignored. */
const CHALLENGE_LIFETIME_MS = 5000
/**
 * Challenges remembered; the oldest is forgotten. A node greets an address once a second at most, so this is enough for
 * hundreds of them.
 */
const MAX_CHALLENGES = 4096

export interface Challenge<Target> {
  readonly sentMs: number
  /** Object that the caller sent the challenge to. */
  readonly target: Target
  /** Address that the challenge was sent to. */
  readonly to: HostAddress
}

export class Challenges<Target> {
  readonly #clock: Clock
  readonly #random: RandomSource
  /** Challenges in flight by their bytes in latin1, oldest first. */
  readonly #pending = new Map<string, Challenge<Target>>()

  constructor(clock: Clock, random: RandomSource) {
    this.#clock = clock
    this.#random = random
  }

  get count(): number {
    return this.#pending.size
  }

  issue(target: Target, to: HostAddress): Buffer {
    this.#expire()
    const bytes = this.#random(CHALLENGE_BYTES)
    this.#pending.set(bytes.toString('latin1'), { sentMs: this.#clock.monotonicMs(), target, to })
    return bytes
  }

  /**
   * The challenge that this answers; undefined when it is unknown or too old. It stays, because each member of a group
   * may answer it.
   */
  find(answer: Buffer): Challenge<Target> | undefined {
    this.#expire()
    return this.#pending.get(answer.toString('latin1'))
  }

  #expire(): void {
    const oldestMs = this.#clock.monotonicMs() - CHALLENGE_LIFETIME_MS
    for (const [bytes, challenge] of this.#pending) {
      if (challenge.sentMs >= oldestMs && this.#pending.size < MAX_CHALLENGES) return
      this.#pending.delete(bytes)
    }
  }
}
