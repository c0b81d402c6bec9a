// Keeps this node's stores equal to those of its peers: copies a peer when the node joins, then compares digests with
// one peer after the other, and at once with a peer whose changes were lost.

import { messageOf } from '../../base/errors.ts'
import { type Clock, every, type Logger, type Timer } from '../../base/world.ts'
import type { PeerSync, PeerSyncState } from '../peers/presence.ts'
import type { JoinState } from '../replicator.ts'
import { SyncCaller, type SyncCallerOptions } from './client.ts'
import { failureOf } from './stats.ts'
import type { FrameStream } from './stream.ts'

export const DEFAULT_DIGEST_INTERVAL_MS = 30_000
/** Time between two looks of a joining node for a peer. */
const LOOK_PERIOD_MS = 20
/** Shortest time between two comparisons in a row with the same peer. */
const MIN_REPEAT_MS = 1000
/**
 * A comparison waits while the changes of any peer come faster than they are taken: looks this often, MAX_PRESSED_LOOKS
 * times at most, and then compares anyway.
 */
const PRESSED_LOOK_MS = 100
const MAX_PRESSED_LOOKS = 100
/** Boots of peers that are remembered as met; the oldest is forgotten. As many as the sender table holds. */
const MAX_MET = 1024

/** A peer to synchronize with: one object and one key per boot. */
export interface SyncPeer {
  /** Identifies the boot: sender ID and boot ID. */
  readonly key: string
  readonly nodeName: string
  /** Whether its changes now come faster than this node takes them. */
  isPressing(nowMs: number): boolean
}

export const SYNC_STATES = ['joining', 'syncing', 'synced', 'alone', 'failed'] as const
/**
 * `joining`: the node looks for a peer to copy. `syncing`: it copies one. `synced`: a peer was copied, or a comparison
 * ended. `alone`: there was no peer, or none is heard any more. `failed`: the copy of a peer broke off, and no other
 * peer had all sessions.
 */
export type SyncState = (typeof SYNC_STATES)[number]

export interface SyncStatus {
  readonly state: SyncState
  /** Node name of the peer that is copied now, or else of the last copy or comparison that succeeded; may be empty. */
  readonly peer: string
  /** Milliseconds since the last copy or comparison that succeeded; undefined before the first. */
  readonly lastSyncedMs: number | undefined
}

export interface SynchronizerOptions<Peer extends SyncPeer> extends SyncCallerOptions {
  /** Returns the peers that proved to be alive. */
  readonly peers: () => readonly Peer[]
  readonly joinState: () => JoinState
  /** Opens a connection to a peer; rejects at once when the signal aborts. */
  readonly connect: (peer: Peer, signal: AbortSignal) => Promise<FrameStream>
  readonly digestIntervalMs: number
  readonly clock: Clock
  readonly logger: Logger
}

/** What is remembered of copies and comparisons of one peer. */
interface NotedSync extends Pick<PeerSync, 'state' | 'hasFailed'> {
  readonly lastSyncedAtMs: number | undefined
}

const NEVER_SYNCED: NotedSync = { state: 'none', hasFailed: false, lastSyncedAtMs: undefined }

export class Synchronizer<Peer extends SyncPeer> {
  readonly #options: SynchronizerOptions<Peer>
  /** Peers to compare with soon, by key. */
  readonly #asked = new Map<string, Peer>()
  /** Keys of the boots that were met, oldest first; also of those that the sender table has forgotten. */
  readonly #met = new Set<string>()
  #state: SyncState = 'joining'
  /** Node name of the peer that is or was last called, and of the last one that was copied or compared to the end. */
  #calledName = ''
  #syncedName = ''
  #lastSyncedAtMs: number | undefined
  /** Key of the last peer that was compared in its turn. */
  #turnKey = ''
  /** Key of the last peer that was compared for any reason. */
  #lastPeerKey = ''
  #lastComparedMs = Number.NEGATIVE_INFINITY
  #abort = new AbortController()
  #stream: FrameStream | undefined
  /** Settles when the last copy or comparison has ended; never rejects. */
  #running: Promise<void> = Promise.resolve()
  #isBusy = false
  #isStarted = false
  #periodic: Timer | undefined
  #soon: Timer | undefined
  #wake: (() => void) | undefined
  /** State per key of the peers that are present, the one that was called longest ago first. */
  readonly #peerSyncs = new Map<string, NotedSync>()

  constructor(options: SynchronizerOptions<Peer>) {
    this.#options = options
  }

  get status(): SyncStatus {
    const lastAtMs = this.#lastSyncedAtMs
    return {
      state: this.#state,
      peer: this.#state === 'syncing' ? this.#calledName : this.#syncedName,
      lastSyncedMs:
        lastAtMs === undefined ? undefined : this.#options.clock.monotonicMs() - lastAtMs,
    }
  }

  /** State of the last copy of this peer or comparison with it. */
  peerSync(key: string): PeerSync {
    const { state, hasFailed, lastSyncedAtMs } = this.#peerSyncs.get(key) ?? NEVER_SYNCED
    const nowMs = this.#options.clock.monotonicMs()
    const lastSyncedMs = lastSyncedAtMs === undefined ? undefined : nowMs - lastSyncedAtMs
    return { state, hasFailed, lastSyncedMs }
  }

  /**
   * Whether a copy of this node has all that the cluster holds: this node copied a peer or found none. After a join that
   * failed it is not complete, and a node that copies this one goes on to the next.
   */
  get isComplete(): boolean {
    return this.#state === 'synced' || this.#state === 'alone'
  }

  start(): void {
    if (this.#isStarted) return
    this.#isStarted = true
    this.#abort = new AbortController()
    const { clock, digestIntervalMs } = this.#options
    this.#periodic = every(clock, digestIntervalMs, () => this.#compareNext())
    this.#running = this.#join()
  }

  /** Cancels the running copy or comparison and resolves when it has ended; idempotent. */
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
   * Notes that a peer proved to be alive. A joining node copies it. A node that found nobody, or failed, compares with
   * it, and so does one that met this boot before: the peer was away for so long that NACKs cannot repair what it
   * missed.
   */
  greet(peer: Peer): void {
    this.#wake?.()
    const isBack = this.#met.has(peer.key)
    this.#meet(peer.key)
    if (isBack || this.#state === 'alone' || this.#state === 'failed') this.requestSync(peer)
  }

  /** Notes that no peer is heard any more: an earlier comparison no longer says what they hold. */
  lose(): void {
    if (this.#state === 'synced' || this.#state === 'failed') this.#state = 'alone'
  }

  /**
   * Compares with this peer as soon as possible, because changes of it were lost; once, however often it is asked for.
   */
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
    let failed = ''
    while (this.#isStarted) {
      const peer = this.#options.peers().find((one) => !tried.has(one.key))
      if (peer !== undefined) {
        tried.add(peer.key)
        const outcome = await this.#copy(peer)
        if (outcome === 'failed') failed = peer.nodeName
        else if (outcome === 'complete') failed = ''
        if (outcome === 'complete') break
      } else if (this.#options.joinState() === 'joining') await this.#look()
      else break
    }
    this.#isBusy = false
    if (!this.#isStarted) return
    if (tried.size === 0) this.#endJoin('alone', 'no peer is there, this node serves alone')
    else if (failed !== '')
      this.#endJoin('failed', `${failed} broke off, its sessions may be missing here`)
    // Where all peers are joining themselves, they gave what they have: there is no more to get.
    else this.#endJoin('synced', `joined, the sessions of ${this.#syncedName} are here`)
    this.#compareAsked()
  }

  #endJoin(state: SyncState, message: string): void {
    this.#state = state
    this.#options.logger.info({ state, peer: this.#syncedName }, `replication: ${message}`)
  }

  async #copy(peer: Peer): Promise<'complete' | 'partial' | 'failed'> {
    this.#state = 'syncing'
    const isFull = await this.#call(peer, 'copying', (caller) => caller.takeSnapshot())
    if (this.#isStarted) this.#state = 'joining'
    if (isFull === undefined) return 'failed'
    return isFull ? 'complete' : 'partial'
  }

  /** Compares with the peer in turn, and again with the one that failed longest ago, whose turn may be far away. */
  #compareNext(): void {
    const peers = this.#options.peers()
    const last = peers.findIndex((peer) => peer.key === this.#turnKey)
    const next = peers[(last + 1) % peers.length]
    if (next === undefined) return
    this.#turnKey = next.key
    this.requestSync(next)
    const others = [...this.#peerSyncs].filter(([key]) => key !== next.key)
    const [failedKey] = others.find(([, { hasFailed }]) => hasFailed) ?? []
    const failed = peers.find((peer) => peer.key === failedKey)
    if (failed !== undefined) this.requestSync(failed)
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

  /**
   * Postpones the comparison while changes wait to be taken: each that is lost during it would need another comparison.
   */
  #compareWhenCalm(peer: Peer, looks: number): void {
    const { clock, peers } = this.#options
    const nowMs = clock.monotonicMs()
    if (looks > 0 && peers().some((one) => one.isPressing(nowMs))) {
      this.#soon = clock.after(PRESSED_LOOK_MS, () => this.#compareWhenCalm(peer, looks - 1))
    } else this.#running = this.#compare(peer)
  }

  async #compare(peer: Peer): Promise<void> {
    // Changes lost from now on request another comparison.
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

  /** Connects to a peer and runs `work`; resolves with its result, or with undefined when it failed. Never rejects. */
  async #call<Result>(
    peer: Peer,
    state: PeerSyncState,
    work: (caller: SyncCaller) => Promise<Result>,
  ): Promise<Result | undefined> {
    const { connect, clock, stats, logger } = this.#options
    this.#calledName = peer.nodeName
    this.#notePeer(peer, state)
    try {
      const stream = await connect(peer, this.#abort.signal)
      this.#stream = stream
      if (!this.#isStarted) throw new Error('stopped')
      const result = await work(new SyncCaller(this.#options, stream))
      this.#lastSyncedAtMs = clock.monotonicMs()
      this.#syncedName = peer.nodeName
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

  /** Notes the state of a peer, and forgets the states of peers that are gone. */
  #notePeer({ key }: Peer, state: PeerSyncState, syncedAtMs?: number): void {
    const before = this.#peerSyncs.get(key) ?? NEVER_SYNCED
    const isOver = state === 'synced' || state === 'failed'
    this.#peerSyncs.delete(key)
    this.#peerSyncs.set(key, {
      state,
      hasFailed: isOver ? state === 'failed' : before.hasFailed,
      lastSyncedAtMs: syncedAtMs ?? before.lastSyncedAtMs,
    })
    const present = new Set(this.#options.peers().map((peer) => peer.key))
    for (const known of this.#peerSyncs.keys()) {
      if (known !== key && !present.has(known)) this.#peerSyncs.delete(known)
    }
  }

  /** Resolves after LOOK_PERIOD_MS, or earlier when a peer is found. */
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
