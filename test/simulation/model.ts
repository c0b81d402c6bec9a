// What each node may answer, kept beside the cluster: every change that a store reports is held against what the nodes
// of the cluster were told, and every answer of a node against what this node is known to hold.

import type { SessionStore } from '../../src/store/session-store.ts'
import { type Change, compareVersions, type Version } from '../../src/store/versions.ts'
import type { SimulatedProcess } from './host.ts'
import type { SimulatedWorld } from './world.ts'

/** A put or remove as the node made it that a terminator called. */
interface Made {
  readonly change: Change
  readonly atMs: number
}

/** The newest change that one process knows of a session ID. */
export interface Known {
  readonly kind: 'put' | 'remove'
  readonly version: Version
  readonly context: string
  readonly serverName: string
  readonly session: string
  /** By the monotonic clock of the process. */
  readonly expiresAtMs: number
  /** When this process took it, in simulated time. */
  readonly takenAtMs: number
}

/**
 * How much longer than its lifetime a session may live by true time: datagrams that were lost are sent again for
 * 30 seconds with the lifetime they had first, paths delay, clocks drift by half a percent, and a slow or stalled
 * connection holds what it copies for up to 13 seconds, perhaps one after the other.
 */
const LATE_MS = 60_000
const DRIFT = 1.011

export class ClusterModel {
  readonly #made = new Map<string, Made[]>()
  readonly #world: SimulatedWorld
  /** Called with the time that a change took to another node. */
  readonly #onVisible: (tookMs: number) => void
  /** Called with each change that a terminator made. */
  onMade: (process: SimulatedProcess, change: Change) => void = () => {}
  /** Longest time that an attacker held a change back on its way from one node to another. */
  longestHoldMs = 0
  /** When processes were suspended, in simulated time. */
  readonly #pauses: { readonly fromMs: number; readonly toMs: number }[] = []

  constructor(world: SimulatedWorld, onVisible: (tookMs: number) => void) {
    this.#world = world
    this.#onVisible = onVisible
  }

  /** Watches a store of a process that was just made. */
  watch(process: SimulatedProcess, store: SessionStore): StoreModel {
    const model = new StoreModel(process, store, this, this.#world)
    const report = store.onChange
    store.onChange = (change, origin) => {
      const copy = copyOf(change)
      if (origin === 'local') this.#note(copy)
      else this.#check(process, copy)
      model.take(copy, origin)
      if (origin === 'local') this.onMade(process, copy)
      report(change, origin)
    }
    return model
  }

  /** Notes that a process was suspended for this time, perhaps with its machine. */
  notePause(fromMs: number, toMs: number): void {
    this.#pauses.push({ fromMs, toMs })
  }

  /**
   * How much longer than its lifetime and LATE_MS an entry may live that was made at `atMs`. Each suspension since then
   * adds to it: the entry waited in the socket of the process, or the clock by which it expires stood still.
   */
  heldBackSince(atMs: number): number {
    const pausedMs = this.#pauses.reduce(
      (sum, { fromMs, toMs }) => sum + Math.max(0, toMs - Math.max(fromMs, atMs)),
      0,
    )
    return pausedMs + this.longestHoldMs
  }

  /** Simulated time when a terminator made this version of an entry; 0 when none did. */
  madeAtMs(cache: string, id: string, version: Version): number {
    const made = this.#made.get(keyOf(cache, id, version)) ?? []
    return Math.min(
      ...made.map(({ atMs }) => atMs),
      made.length === 0 ? 0 : Number.POSITIVE_INFINITY,
    )
  }

  /** Throws when this session is over by true time. */
  checkLifetime(where: string, id: string, { version }: Known, cache: string): void {
    const nowMs = this.#world.timeline.nowMs
    const made = this.#made.get(keyOf(cache, id, version)) ?? []
    const isLive = made.some(
      ({ change, atMs }) =>
        nowMs - atMs <= change.ttlMs * DRIFT + LATE_MS + this.heldBackSince(atMs),
    )
    if (!isLive) this.#world.fail(`${where} gave session ${id} back after its lifetime`)
  }

  #note(change: Change): void {
    const key = keyOf(change.cache, hexOf(change.id), change.version)
    const made = this.#made.get(key) ?? []
    made.push({ change, atMs: this.#world.timeline.nowMs })
    this.#made.set(key, made)
  }

  #check(process: SimulatedProcess, change: Change): void {
    const id = hexOf(change.id)
    const made = this.#made.get(keyOf(change.cache, id, change.version)) ?? []
    const original = made.find((one) => isSame(one.change, change))
    if (original === undefined) {
      this.#world.fail(`${process.name} accepted a ${change.kind} of ${id} that no node made`)
    }
    if (change.ttlMs > original.change.ttlMs) {
      this.#world.fail(`${process.name} accepted a ${change.kind} of ${id} that lives longer`)
    }
    this.#onVisible(this.#world.timeline.nowMs - original.atMs)
  }
}

export class StoreModel {
  readonly store: SessionStore
  readonly known = new Map<string, Known>()
  /** Changes of peers that were applied. */
  appliedCount = 0
  /** Simulated time when the store was last seen without room for more sessions or removals; before that, minus infinity. */
  lastFullMs = Number.NEGATIVE_INFINITY
  readonly #process: SimulatedProcess
  readonly #cluster: ClusterModel
  readonly #world: SimulatedWorld

  constructor(
    process: SimulatedProcess,
    store: SessionStore,
    cluster: ClusterModel,
    world: SimulatedWorld,
  ) {
    this.#world = world
    this.#process = process
    this.store = store
    this.#cluster = cluster
  }

  /** Changes of peers that were refused. */
  get refusedCount(): number {
    return Object.values(this.store.stats.peerRefusals).reduce((sum, count) => sum + count, 0)
  }

  /** Whether the store still holds all that it was told, as far as it has not expired. */
  get isWhole(): boolean {
    return this.store.stats.evicted === 0 && this.refusedCount === 0 && !this.#hasForgotten
  }

  /**
   * Looks whether the store has room for what peers hold besides: without it copies none of that, and refuses none. To
   * be called once a second, too, because a full store may get room when something expires.
   */
  lookForRoom(): void {
    const { sessions, removals } = this.store.room
    if (sessions <= 0 || removals <= 0) this.lastFullMs = this.#world.timeline.nowMs
  }

  /** Whether removals may have been forgotten, because there were too many. */
  get #hasForgotten(): boolean {
    return this.#removals >= this.store.limits.items
  }

  #removals = 0

  take(change: Change, origin: 'local' | 'peer'): void {
    const id = hexOf(change.id)
    const before = this.known.get(id)
    const nowMs = this.#process.clock.monotonicMs()
    const isOver = before === undefined || before.expiresAtMs <= nowMs || !this.isWhole
    if (!isOver && compareVersions(change.version, before.version) <= 0) {
      const what = `${change.kind} of ${id} with a version that is not above the one it has`
      this.#world.fail(`${this.#process.name} took a ${origin} ${what}`)
    }
    if (origin === 'peer') this.appliedCount += 1
    this.lookForRoom()
    if (change.kind === 'remove') this.#removals += 1
    const { timeoutMs } = this.store.limits
    const ageMs = change.kind === 'put' ? (change.ageMs ?? 0) : 0
    this.known.set(id, {
      kind: change.kind,
      version: change.version,
      context: change.kind === 'put' ? textOf(change.context) : '',
      serverName: change.kind === 'put' ? change.serverName : '',
      session: change.kind === 'put' ? textOf(change.session) : '',
      takenAtMs: this.#world.timeline.nowMs,
      expiresAtMs: nowMs + Math.min(change.ttlMs, timeoutMs - ageMs),
    })
  }

  /** Holds an answer to a get against what this store is known to hold; throws a Violation. */
  check(id: string, context: string, serverName: string, found: Buffer | undefined): void {
    const known = this.known.get(id)
    const where = this.#process.name
    const nowMs = this.#process.clock.monotonicMs()
    if (found === undefined) {
      if (known?.kind !== 'put' || !this.isWhole || known.expiresAtMs <= nowMs) return
      if (known.context !== context || known.serverName !== serverName) return
      this.#world.fail(`${where} does not find session ${id}, which it holds`)
    }
    if (known === undefined) this.#world.fail(`${where} found ${id}, which nobody put there`)
    if (known.kind === 'remove') this.#world.fail(`${where} found ${id}, which was removed`)
    if (known.context !== context)
      this.#world.fail(`${where} gave ${id} of context ${known.context} to ${context}`)
    if (known.serverName !== serverName)
      this.#world.fail(`${where} gave ${id} of ${known.serverName} to ${serverName}`)
    if (known.session !== textOf(found))
      this.#world.fail(`${where} gave other bytes for ${id} than the newest put`)
    if (known.expiresAtMs <= nowMs)
      this.#world.fail(`${where} gave ${id} back after its lifetime here`)
    this.#cluster.checkLifetime(where, id, known, this.store.limits.name)
  }
}

export function hexOf(id: Uint8Array): string {
  return Buffer.from(id.buffer, id.byteOffset, id.length).toString('hex')
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
}

function keyOf(cache: string, id: string, { clock, origin }: Version): string {
  return `${cache} ${id} ${clock} ${origin}`
}

function copyOf(change: Change): Change {
  const id = Buffer.from(change.id)
  if (change.kind === 'remove') return { ...change, id }
  const [context, session] = [Buffer.from(change.context), Buffer.from(change.session)]
  return { ...change, id, context, session }
}

function isSame(a: Change, b: Change): boolean {
  if (a.kind !== b.kind) return false
  if (a.kind === 'remove' || b.kind === 'remove') return true
  return (
    textOf(a.context) === textOf(b.context) &&
    a.serverName === b.serverName &&
    textOf(a.session) === textOf(b.session)
  )
}
