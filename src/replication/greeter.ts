// Greetings: finding out which nodes are alive now, and telling them that we are. A node that answers
// a fresh challenge is verified: its changes count from the sequence number it answered with.

import { formatAddress, type HostAddress } from '../base/address.ts'
import { type Clock, every, type Timer } from '../base/clock.ts'
import type { RandomSource } from '../base/random.ts'
import { SEAL_OVERHEAD_BYTES } from '../wire/datagram.ts'
import {
  encodeGreeting,
  GREETING_BYTES,
  type GreetingMessage,
  PROTOCOL_VERSION,
  type Role,
} from '../wire/message.ts'
import type { Sealer } from '../wire/seal.ts'
import { Challenges } from './challenges.ts'
import { PeerAddress, type PeerAddresses, SILENCE_MS } from './peer-addresses.ts'
import type { PeerLimits } from './peer-limits.ts'
import type { Sender } from './sender.ts'
import type { DropReason, ReplicationStats } from './stats.ts'
import type { Transport } from './transport.ts'

/** Only a datagram at least this long may provoke a greeting: nobody gets back more than was sent. */
export const GREETING_DATAGRAM_BYTES = GREETING_BYTES + SEAL_OVERHEAD_BYTES
/** What a greeting has for its node name and caches: all but the other fields, the nonce and the shortest padding. */
const CACHES_BYTES = GREETING_BYTES - 84 - 131
/** How often an address is greeted where nobody answers, and an unverified sender challenged. */
export const GREETING_PERIOD_MS = 1000
/** How often an address is greeted where somebody answered the last greeting. */
const LIVENESS_PERIOD_MS = 3000
/** Timers run a little early or late: a greeting due within this counts as due. */
const PERIOD_SLACK_MS = 100
/** Answers to one sender within a period; it needs one or two. */
const MAX_ANSWERS_PER_ROUND = 10

export interface GreeterOptions {
  readonly nodeName: string
  /** 0 where this node does not synchronize. */
  readonly syncPort: () => number
  readonly sealer: Sealer
  readonly transport: Transport
  readonly addresses: PeerAddresses
  readonly clock: Clock
  readonly random: RandomSource
  readonly stats: GreeterStats
  /** The caches of this node; absent where it stores nothing. */
  readonly limits?: PeerLimits
  /** Greetings of nodes that know no version as high as this are dropped. */
  readonly minimumVersion?: number
  /** What this node is to the one at an address. */
  readonly roleTo: (address: HostAddress) => Role | undefined
  /**
   * Whether every challenge is answered with one, and an answer from another address than its challenge was sent to
   * counts for nothing: a repeater wants a fresh proof of the address each time.
   */
  readonly mustProveAddress?: boolean
  /** A verified sender answered a challenge from where it was sent to, its `provenAddress`; `isFirst` after no other. */
  readonly onProven: (sender: Sender, isFirst: boolean) => void
  /** A sender proved to be alive for the first time; what it sent up to here is stale. */
  readonly onVerified: (sender: Sender, changesSequence: number) => void
  /** Runs after each round of greetings, every GREETING_PERIOD_MS. */
  readonly onRound: () => void
}

export interface GreeterStats extends Pick<ReplicationStats, 'datagramsSent'> {
  readonly dropped: Pick<ReplicationStats['dropped'], 'queue_full'>
}

/** What a challenge was sent to: a sender heard from, or an address where one may be. */
type Target = Sender | PeerAddress

export class Greeter {
  readonly #options: GreeterOptions
  readonly #challenges: Challenges<Target>
  /** Answers given since the last round. */
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

  /** Greets every address where it is time to; nobody unless started. */
  greetAddresses(): void {
    if (this.#timer === undefined) return
    const nowMs = this.#options.clock.monotonicMs()
    for (const peer of this.#options.addresses.all) {
      const isAnswered = peer.sender !== undefined && peer.lastAnsweredMs >= peer.lastGreetedMs
      // A repeater passes things on to those who ask for it again and again.
      const isSteady = (isAnswered && peer.kind !== 'repeater') || peer.isOwn(nowMs)
      const periodMs = isSteady ? LIVENESS_PERIOD_MS : GREETING_PERIOD_MS
      if (nowMs - peer.lastGreetedMs < periodMs - PERIOD_SLACK_MS) continue
      peer.lastGreetedMs = nowMs
      this.#send(peer.address, this.#challenges.issue(peer, peer.address), undefined)
      peer.lastGreetedSequence = this.#options.sealer.lastSequence('control')
    }
  }

  /** Asks a sender for a proof that it is alive and at this address, unless there is one; at most once per period. */
  challenge(sender: Sender, from: HostAddress): void {
    const nowMs = this.#options.clock.monotonicMs()
    const isDue = nowMs - sender.lastChallengedMs >= GREETING_PERIOD_MS - PERIOD_SLACK_MS
    if (!isDue || (sender.isVerified && sender.isProvenAt(from))) return
    sender.lastChallengedMs = nowMs
    this.#send(from, this.#challenges.issue(sender, from), undefined)
  }

  /** Takes a greeting that authenticated and was no replay; returns what was wrong with it. */
  receive(greeting: GreetingMessage, sender: Sender, from: HostAddress): DropReason | undefined {
    const { challenge, answer, nodeName, version = 1, caches = [], cacheCount = 0 } = greeting
    const { minimumVersion = 1, limits } = this.#options
    sender.nodeName = nodeName
    sender.version = version
    if (version < minimumVersion) return 'version'
    sender.syncPort = greeting.syncPort ?? sender.syncPort
    sender.role = greeting.role
    const isAnswerWrong =
      answer !== undefined && !this.#receiveAnswer(greeting, answer, sender, from)
    // Anybody may send a recorded greeting of an earlier boot, with the limits of that time.
    if (sender.isVerified) limits?.receive(sender, { caches, cacheCount })
    if (challenge !== undefined && !this.#answer(challenge, sender, from)) return 'queue_full'
    if (isAnswerWrong) return 'stale'
    if (challenge === undefined && answer !== undefined) this.challenge(sender, from)
    return undefined
  }

  /** False when it answers no challenge of the last seconds. */
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
   * Whether an answer from there may count as a proof. Somebody who hands challenges on to the sender, and its answers
   * back faster than they come, makes it seem to be where it is not: so a sender that is heard at its proven address is at
   * no other one, but for those that a person listed.
   */
  #mayBeAt(sender: Sender, from: HostAddress, nowMs: number): boolean {
    if (sender.provenAddress === undefined || sender.isProvenAt(from)) return true
    const kind = this.#options.addresses.kindOf(from)
    const isListed = kind === 'peer' || kind === 'repeater'
    return isListed || nowMs - sender.lastHeardThereMs > SILENCE_MS
  }

  /** An address that no person configured counts as answered only by itself. */
  #noteAnswerAt(target: Target, sender: Sender, from: HostAddress, isThere: boolean): void {
    const { addresses, clock } = this.#options
    if (!(target instanceof PeerAddress) || (target.kind === 'contact' && !isThere)) return
    const nowMs = clock.monotonicMs()
    target.answer(sender, from, nowMs)
    addresses.refresh(nowMs)
  }

  /** False when the sender got enough answers for now. */
  #answer(challenge: Buffer, sender: Sender, from: HostAddress): boolean {
    const given = this.#answers.get(sender) ?? 0
    if (given >= MAX_ANSWERS_PER_ROUND) return false
    this.#answers.set(sender, given + 1)
    const { clock, mustProveAddress } = this.#options
    sender.lastAnsweredMs = clock.monotonicMs()
    // A challenge on an answer costs no datagram of its own.
    const isKnown = sender.isVerified && sender.isProvenAt(from) && mustProveAddress !== true
    this.#send(from, isKnown ? undefined : this.#challenges.issue(sender, from), challenge)
    return true
  }

  #send(to: HostAddress, challenge: Buffer | undefined, answer: Buffer | undefined): void {
    const { nodeName, sealer, transport, clock, stats, limits } = this.#options
    const syncPort = this.#options.syncPort()
    const role = this.#options.roleTo(to)
    const greeting = {
      challenge,
      answer,
      changesSequence: sealer.lastSequence('changes'),
      sentWallMs: clock.wallMs(),
      nodeName,
      ...(syncPort === 0 ? {} : { syncPort }),
      ...(role === undefined ? {} : { role }),
      version: PROTOCOL_VERSION,
      ...limits?.tell(Math.max(0, CACHES_BYTES - Buffer.byteLength(nodeName))),
    }
    // In whatever form, a greeting is a datagram of one size.
    const message = encodeGreeting(greeting, GREETING_DATAGRAM_BYTES - sealer.overheadBytes)
    if (transport.send(sealer.seal('control', message), to)) stats.datagramsSent += 1
    else stats.dropped.queue_full += 1
  }

  #round(): void {
    this.#answers.clear()
    this.greetAddresses()
    this.#options.onRound()
  }
}
