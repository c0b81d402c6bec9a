// Keeps this node's stores equal to those of its peers: a full copy when it joins, comparisons by digest
// afterwards, with one peer at a time in turn, and at once with whom something was lost.

import { type Clock, every, type Timer } from '../base/clock.ts'
import { messageOf } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import type { FrameStream } from './frame-stream.ts'
import type { PeerSync, PeerSyncState } from './peer-status.ts'
import type { JoinState } from './replicator.ts'
import { SyncCaller, type SyncCallerOptions } from './sync-caller.ts'
import { failureOf } from './sync-stats.ts'

export const DEFAULT_DIGEST_INTERVAL_MS = 30_000
/** How often a joining node looks whether anybody is there. */
const LOOK_PERIOD_MS = 20
/** With the same peer no more often than this, whatever is lost. */
const MIN_REPEAT_MS = 1000
/** How often a peer that is to be compared is looked at while its changes come too fast for it, and how often at most. */
const PRESSED_LOOK_MS = 100
const MAX_PRESSED_LOOKS = 100
/** As many boots of peers as are remembered elsewhere. */
const MAX_MET = 1024

/** Somebody to synchronize with; the same object as long as it is the same boot. */
export interface SyncPeer {
  /** Sender ID and boot ID. */
  readonly key: string
  readonly nodeName: string
  /** Whether its changes come faster than they are taken now. */
  isPressing(nowMs: number): boolean
}

export const SYNC_STATES = ['joining', 'syncing', 'synced', 'alone', 'failed'] as const
/**
 * `joining`: peers are being looked for. `syncing`: the copy of one is on its way. `synced`: it is there,
 * or a comparison ended. `alone`: nobody was there, or nobody is heard any more. `failed`: every peer that was there broke off.
 */
export type SyncState = (typeof SYNC_STATES)[number]

export interface SyncStatus {
  readonly state: SyncState
  /** Name of the peer that is or was copied or compared with; empty before the first. */
  readonly peer: string
  /** Since the last copy or comparison that ended well. */
  readonly lastSyncedMs: number | undefined
}

export interface SynchronizerOptions<Peer extends SyncPeer> extends SyncCallerOptions {
  /** Peers that proved to be alive. */
  readonly peers: () => readonly Peer[]
  readonly joinState: () => JoinState
  /** Rejects at once when the signal aborts. */
  readonly connect: (peer: Peer, signal: AbortSignal) => Promise<FrameStream>
  readonly digestIntervalMs: number
  readonly clock: Clock
  readonly logger: Logger
}

export class Synchronizer<Peer extends SyncPeer> {
  readonly #options: SynchronizerOptions<Peer>
  /** Peers to compare with soon, by key. */
  readonly #asked = new Map<string, Peer>()
  /** Keys of peers that were there, oldest first, also of those that were forgotten since. */
  readonly #met = new Set<string>()
  #state: SyncState = 'joining'
  #peerName = ''
  #lastSyncedAtMs: number | undefined
  /** Of the last comparison, to take turns. */
  #lastPeerKey = ''
  #lastComparedMs = Number.NEGATIVE_INFINITY
  #abort = new AbortController()
  #stream: FrameStream | undefined
  /** The last copy or comparison; never rejects. */
  #running: Promise<void> = Promise.resolve()
  #isBusy = false
  #isStarted = false
  #periodic: Timer | undefined
  #soon: Timer | undefined
  #wake: (() => void) | undefined
  /** By key, of peers that are there. */
  readonly #peerSyncs = new Map<string, { state: PeerSyncState; lastSyncedAtMs?: number }>()

  constructor(options: SynchronizerOptions<Peer>) {
    this.#options = options
  }

  get status(): SyncStatus {
    const lastAtMs = this.#lastSyncedAtMs
    return {
      state: this.#state,
      peer: this.#peerName,
      lastSyncedMs:
        lastAtMs === undefined ? undefined : this.#options.clock.monotonicMs() - lastAtMs,
    }
  }

  /** What became of the last copy of this peer or comparison with it. */
  peerSync(key: string): PeerSync {
    const { state, lastSyncedAtMs } = this.#peerSyncs.get(key) ?? { state: 'none' }
    const nowMs = this.#options.clock.monotonicMs()
    const lastSyncedMs = lastSyncedAtMs === undefined ? undefined : nowMs - lastSyncedAtMs
    return { state, lastSyncedMs }
  }

  /** Whether what is here is a full copy, or all there is to have. */
  get isComplete(): boolean {
    return this.#state !== 'joining' && this.#state !== 'syncing'
  }

  start(): void {
    if (this.#isStarted) return
    this.#isStarted = true
    this.#abort = new AbortController()
    const { clock, digestIntervalMs } = this.#options
    this.#periodic = every(clock, digestIntervalMs, () => this.#compareNext())
    this.#running = this.#join()
  }

  /** Breaks off what is on its way, and resolves when it has ended; idempotent. */
  async stop(): Promise<void> {
    this.#isStarted = false
    this.#periodic?.cancel()
    this.#soon?.cancel()
    this.#periodic = undefined
    this.#asked.clear()
    this.#abort.abort()
    this.#stream?.close()
    this.#wake?.()
    await this.#running
  }

  /**
   * A peer proved to be alive: a joining node copies it, one that found nobody compares. So does one that
   * met it before: it was away for so long that nobody knows any more what it missed.
   */
  greet(peer: Peer): void {
    this.#wake?.()
    const isBack = this.#met.has(peer.key)
    this.#meet(peer.key)
    if (isBack || this.#state === 'alone' || this.#state === 'failed') this.requestSync(peer)
  }

  /** No peer is heard any more: what was compared says nothing about what they hold now. */
  lose(): void {
    if (this.#state === 'synced' || this.#state === 'failed') this.#state = 'alone'
  }

  /** Compares with this peer as soon as can be: it has sent what did not arrive. */
  requestSync(peer: Peer): void {
    if (!this.#isStarted || this.#asked.has(peer.key)) return
    this.#asked.set(peer.key, peer)
    this.#compareAsked()
  }

  #meet(key: string): void {
    this.#met.delete(key)
    this.#met.add(key)
    const [oldest] = this.#met
    if (this.#met.size > MAX_MET && oldest !== undefined) this.#met.delete(oldest)
  }

  async #join(): Promise<void> {
    this.#isBusy = true
    const tried = new Set<string>()
    let isCopied = false
    while (this.#isStarted) {
      const peer = this.#options.peers().find((one) => !tried.has(one.key))
      if (peer !== undefined) {
        tried.add(peer.key)
        const outcome = await this.#copy(peer)
        isCopied ||= outcome !== 'failed'
        if (outcome === 'complete') break
      } else if (this.#options.joinState() === 'joining') await this.#look()
      else break
    }
    this.#isBusy = false
    if (!this.#isStarted) return
    // Peers that are joining themselves have given what they have, and that is all there is.
    if (isCopied) this.#endJoin('synced', `joined, the sessions of ${this.#peerName} are here`)
    else if (tried.size === 0) this.#endJoin('alone', 'no peer is there, this node serves alone')
    else this.#endJoin('failed', 'every peer broke off, its sessions may be missing here')
    this.#compareAsked()
  }

  #endJoin(state: SyncState, message: string): void {
    this.#state = state
    this.#options.logger.info({ state, peer: this.#peerName }, `replication: ${message}`)
  }

  async #copy(peer: Peer): Promise<'complete' | 'partial' | 'failed'> {
    this.#state = 'syncing'
    const isFull = await this.#call(peer, 'copying', (caller) => caller.takeSnapshot())
    if (this.#isStarted) this.#state = 'joining'
    if (isFull === undefined) return 'failed'
    return isFull ? 'complete' : 'partial'
  }

  #compareNext(): void {
    const peers = this.#options.peers()
    const last = peers.findIndex((peer) => peer.key === this.#lastPeerKey)
    const next = peers[(last + 1) % peers.length]
    if (next !== undefined) this.requestSync(next)
  }

  #compareAsked(): void {
    const [peer] = this.#asked.values()
    if (peer === undefined || this.#isBusy) return
    const { clock } = this.#options
    const isRepeat = peer.key === this.#lastPeerKey
    const waitMs = isRepeat ? this.#lastComparedMs + MIN_REPEAT_MS - clock.monotonicMs() : 0
    this.#isBusy = true
    this.#soon = clock.after(Math.max(0, waitMs), () =>
      this.#compareWhenCalm(peer, MAX_PRESSED_LOOKS),
    )
  }

  /** Not while changes wait to be taken: what is lost of them during a comparison needs another one. */
  #compareWhenCalm(peer: Peer, looks: number): void {
    const { clock, peers } = this.#options
    const nowMs = clock.monotonicMs()
    if (looks > 0 && peers().some((one) => one.isPressing(nowMs))) {
      this.#soon = clock.after(PRESSED_LOOK_MS, () => this.#compareWhenCalm(peer, looks - 1))
    } else this.#running = this.#compare(peer)
  }

  async #compare(peer: Peer): Promise<void> {
    // What is lost from now on asks again.
    this.#asked.delete(peer.key)
    this.#lastPeerKey = peer.key
    const isEqual = await this.#call(peer, 'comparing', (caller) =>
      caller.compare().then(() => true),
    )
    this.#lastComparedMs = this.#options.clock.monotonicMs()
    this.#isBusy = false
    if (!this.#isStarted) return
    if (isEqual) this.#state = 'synced'
    this.#compareAsked()
  }

  /** What `work` came to, or undefined when the peer broke off. Never rejects. */
  async #call<Result>(
    peer: Peer,
    state: PeerSyncState,
    work: (caller: SyncCaller) => Promise<Result>,
  ): Promise<Result | undefined> {
    const { connect, clock, stats, logger } = this.#options
    this.#peerName = peer.nodeName
    this.#notePeer(peer, state)
    try {
      const stream = await connect(peer, this.#abort.signal)
      this.#stream = stream
      if (!this.#isStarted) throw new Error('stopped')
      const result = await work(new SyncCaller(this.#options, stream))
      this.#lastSyncedAtMs = clock.monotonicMs()
      this.#notePeer(peer, 'synced', this.#lastSyncedAtMs)
      stream.end()
      return result
    } catch (error) {
      this.#stream?.close()
      if (!this.#isStarted) return undefined
      this.#notePeer(peer, 'failed')
      stats.failures[failureOf(error)] += 1
      logger.warn({ peer: peer.nodeName, reason: messageOf(error) }, 'replication: cannot copy')
      return undefined
    } finally {
      this.#stream = undefined
    }
  }

  /** Forgets those who are no longer there. */
  #notePeer({ key }: Peer, state: PeerSyncState, syncedAtMs?: number): void {
    const lastSyncedAtMs = syncedAtMs ?? this.#peerSyncs.get(key)?.lastSyncedAtMs
    this.#peerSyncs.set(key, { state, ...(lastSyncedAtMs === undefined ? {} : { lastSyncedAtMs }) })
    const present = new Set(this.#options.peers().map((peer) => peer.key))
    for (const known of this.#peerSyncs.keys()) {
      if (known !== key && !present.has(known)) this.#peerSyncs.delete(known)
    }
  }

  /** Resolves after a moment, or when somebody was found. */
  #look(): Promise<void> {
    return new Promise((resolve) => {
      const proceed = () => {
        timer.cancel()
        this.#wake = undefined
        resolve()
      }
      const timer = this.#options.clock.after(LOOK_PERIOD_MS, proceed)
      this.#wake = proceed
    })
  }
}
