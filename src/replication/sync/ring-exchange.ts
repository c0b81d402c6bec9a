// Swaps rings of ticket keys with peers, in connections of its own so that no long copy delays it: with each peer whose
// greeting shows another hash, with all of them at the start and after a pause of the machine, and with one after the
// other by the clock. It knows the rings only as a holder that gives and takes offers.

import { messageOf } from '../../base/errors.ts'
import { type Clock, every, type Logger, LogLimiter, type Timer } from '../../base/world.ts'
import type { KeySource } from '../../wire/keyring.ts'
import { eraseSecrets, type RingOffer } from '../../wire/ring-message.ts'
import { encodeSyncFrame } from '../../wire/sync-message.ts'
import type { JoinState } from '../replicator.ts'
import { failureOf, SyncError, type SyncStats } from './stats.ts'
import type { FrameStream } from './stream.ts'

/** Time between two looks for a pause; a look that is later than PAUSE_MS follows one. */
const WATCH_PERIOD_MS = 1000
const PAUSE_MS = 5000
/** Time between two looks of a joining node whether it may make keys. */
const LOOK_PERIOD_MS = 20
/** Time between two calls of a joining node to the peer that is to make the first keys. */
const ASK_PERIOD_MS = 250
/** A joining node makes keys at the latest after this time, also when a peer takes connections and does not answer. */
const LONGEST_JOIN_MS = 4000
/** Calls at a time. */
const MAX_CALLS = 8

/** The rings of a node. */
export interface RingHolder {
  /** What this node holds. The secrets are copies, which the caller erases. */
  offers(): readonly RingOffer[]
  /** Takes over what a peer holds, without keeping the bytes of the offers. */
  merge(offers: readonly RingOffer[]): void
  /** The hash that greetings carry, under one key of the cluster. */
  hash(hashKey: Uint8Array): Buffer
  /** Called once: the peers have been asked, from here on the node makes keys. */
  mayMake(): void
  /** The process or its machine was paused, and all peers are about to be called. */
  wake(): void
}

/** A peer with rings: one object per boot. */
export interface RingPeer {
  readonly nodeName: string
  /** The hash of its last greeting; undefined for a peer without rings. */
  readonly ringsHash: Buffer | undefined
}

export interface RingExchangeOptions<Peer extends RingPeer> {
  /** The name of this node, as peers see it. */
  readonly nodeName: string
  readonly rings: RingHolder
  readonly keys: KeySource
  /** Returns the peers that proved to be alive. */
  readonly peers: () => readonly Peer[]
  readonly joinState: () => JoinState
  /** Opens a connection to a peer; rejects at once when the signal aborts. */
  readonly connect: (peer: Peer, signal: AbortSignal) => Promise<FrameStream>
  /** Time between two swaps by the clock. */
  readonly intervalMs: number
  readonly stats: SyncStats
  readonly clock: Clock
  readonly logger: Logger
}

export class RingExchange<Peer extends RingPeer> {
  readonly #options: RingExchangeOptions<Peer>
  readonly #log: LogLimiter
  readonly #waiting = new Set<Peer>()
  /** What to close to break off each running call. */
  readonly #running = new Map<Peer, FrameStream | undefined>()
  /** Both hashes before the last swap with each peer: as long as neither changes, another swap changes nothing. */
  readonly #swapped = new WeakMap<Peer, string>()
  readonly #timers: Timer[] = []
  #calls: Promise<unknown>[] = []
  #abort = new AbortController()
  #hasKeysOfPeer = false
  #turn = 0

  constructor(options: RingExchangeOptions<Peer>) {
    this.#options = options
    this.#log = new LogLimiter(options)
  }

  /** The hash that greetings carry. */
  hash(): Buffer {
    return this.#hashes()[0] ?? Buffer.alloc(0)
  }

  /** Whether the last greeting of a peer showed other rings than this node has now. */
  differs({ ringsHash }: Peer): boolean {
    return ringsHash !== undefined && !this.#hashes().some((own) => own.equals(ringsHash))
  }

  /** Which of the peers that have rings differ. */
  differing(): { peer: string; differs: boolean }[] {
    return this.#ringPeers().map((peer) => ({ peer: peer.nodeName, differs: this.differs(peer) }))
  }

  start(): void {
    if (this.#timers.length > 0) return
    const { clock, intervalMs } = this.#options
    this.#abort = new AbortController()
    this.#timers.push(
      every(clock, intervalMs, () => this.#swapInTurn()),
      every(clock, WATCH_PERIOD_MS, this.#watchForPauses()),
      this.#join(),
    )
  }

  /** Breaks off all calls and resolves when they have ended; idempotent. */
  async stop(): Promise<void> {
    for (const timer of this.#timers.splice(0)) timer.cancel()
    this.#waiting.clear()
    this.#abort.abort()
    for (const stream of this.#running.values()) stream?.close()
    await Promise.all(this.#calls)
  }

  /** Notes a greeting of a peer: calls it when its rings differ. */
  greet(peer: Peer): void {
    if (!this.differs(peer) || this.#swapped.get(peer) === this.#bothHashes(peer)) return
    // A peer that has not proved its address yet, or tells no port, cannot be called.
    if (this.#options.peers().includes(peer)) this.#ask(peer)
  }

  #hashes(): Buffer[] {
    const { keys, rings } = this.#options
    // While the keys of the cluster are renewed, a peer may greet under another one than this node.
    return keys.current.ringsKeys.map((key) => rings.hash(key))
  }

  #bothHashes({ ringsHash }: Peer): string {
    return `${this.hash().toString('hex')} ${ringsHash?.toString('hex')}`
  }

  /**
   * Lets the node make keys as soon as a peer gave it some, or all that are there were asked. Where nobody has keys, as in
   * a cluster that starts, the node whose name comes first makes them, and the others ask it.
   */
  #join(): Timer {
    const { clock, rings, joinState } = this.#options
    const latestMs = clock.monotonicMs() + LONGEST_JOIN_MS
    let askedMs = Number.NEGATIVE_INFINITY
    const look = every(clock, LOOK_PERIOD_MS, () => {
      const nowMs = clock.monotonicMs()
      const maker = this.#hasKeysOfPeer ? undefined : this.#firstMaker()
      if (maker !== undefined && nowMs >= askedMs + ASK_PERIOD_MS) {
        askedMs = nowMs
        this.#ask(maker)
      }
      const isAsking = maker !== undefined || this.#running.size + this.#waiting.size > 0
      const isOver = joinState() !== 'joining' && !isAsking
      if (!this.#hasKeysOfPeer && !isOver && nowMs < latestMs) return
      look.cancel()
      rings.mayMake()
    })
    return look
  }

  /** The peer that is to make keys before this node does, while both have the same rings: none at the start. */
  #firstMaker(): Peer | undefined {
    const { nodeName } = this.#options
    return this.#ringPeers().find((peer) => peer.nodeName < nodeName && !this.differs(peer))
  }

  /**
   * Returns what looks for pauses. A process that was stopped sees it by its timers; the monotonic clock of a suspended
   * machine stands still, and the time of day jumps.
   */
  #watchForPauses(): () => void {
    const { clock } = this.#options
    let lastMs = clock.monotonicMs()
    let lastWallMs = clock.wallMs()
    return () => {
      const passedMs = clock.monotonicMs() - lastMs
      const passedWallMs = clock.wallMs() - lastWallMs
      lastMs += passedMs
      lastWallMs += passedWallMs
      if (Math.max(passedMs, passedWallMs) < WATCH_PERIOD_MS + PAUSE_MS) return
      this.#options.rings.wake()
      for (const peer of this.#ringPeers()) this.#ask(peer)
    }
  }

  #swapInTurn(): void {
    const peers = this.#ringPeers()
    this.#turn += 1
    const peer = peers[this.#turn % peers.length]
    if (peer !== undefined) this.#ask(peer)
  }

  #ringPeers(): Peer[] {
    return this.#options.peers().filter(({ ringsHash }) => ringsHash !== undefined)
  }

  #ask(peer: Peer): void {
    if (this.#timers.length === 0 || this.#running.has(peer)) return
    this.#waiting.add(peer)
    this.#callNext()
  }

  #callNext(): void {
    const [peer] = this.#waiting
    if (peer === undefined || this.#running.size >= MAX_CALLS) return
    this.#waiting.delete(peer)
    this.#running.set(peer, undefined)
    const call = this.#call(peer).then(() => {
      this.#running.delete(peer)
      this.#calls = this.#calls.filter((other) => other !== call)
      this.#callNext()
    })
    this.#calls.push(call)
  }

  /** Swaps rings with a peer. Never rejects. */
  async #call(peer: Peer): Promise<void> {
    const { connect, stats, rings } = this.#options
    const { signal } = this.#abort
    const hashes = this.#bothHashes(peer)
    let stream: FrameStream | undefined
    try {
      stream = await connect(peer, signal)
      this.#running.set(peer, stream)
      if (signal.aborted) throw new SyncError('broken', 'stopped')
      await sendRings(stream, rings.offers())
      const answer = await stream.receive()
      if (answer?.kind !== 'rings') throw new SyncError('malformed', 'no rings')
      this.#hasKeysOfPeer ||= answer.rings.some(({ keys }) => keys.length > 0)
      receiveRings(answer.rings, rings)
      stream.end()
      this.#swapped.set(peer, hashes)
      stats.ringSwaps += 1
    } catch (error) {
      stream?.close()
      if (signal.aborted) return
      stats.failures[failureOf(error)] += 1
      this.#log.warn(
        () => ({ peer: peer.nodeName, reason: messageOf(error) }),
        'replication: cannot swap ticket keys',
      )
    }
  }
}

/** Sends offers and erases them. */
export async function sendRings(stream: FrameStream, rings: readonly RingOffer[]): Promise<void> {
  const frame = encodeSyncFrame({ kind: 'rings', rings })
  eraseSecrets(rings)
  await stream.sendSecret(frame)
}

/** Takes over the offers of a peer and erases them; without a holder they are only erased. */
export function receiveRings(offers: readonly RingOffer[], rings: RingHolder | undefined): void {
  try {
    rings?.merge(offers)
  } finally {
    eraseSecrets(offers)
  }
}
