// A store with both sides of synchronization, joined to others in memory.

import type { Duplex } from 'node:stream'
import { zeros } from '../../src/base/counters.ts'
import type { Timer } from '../../src/base/world.ts'
import { SyncCaller } from '../../src/replication/sync/client.ts'
import { SyncResponder } from '../../src/replication/sync/server.ts'
import { SYNC_COUNTERS } from '../../src/replication/sync/stats.ts'
import { FrameStream } from '../../src/replication/sync/stream.ts'
import type { CacheLimits } from '../../src/store/limits.ts'
import { SessionStore } from '../../src/store/session-store.ts'
import { type Change, VersionClock } from '../../src/store/versions.ts'
import { duplexPair } from './duplex-pair.ts'
import { FakeClock } from './fake-clock.ts'
import { seededBytes } from './seeded-random.ts'

/** Time stands still, but turns of the event loop go on. */
export class TurningClock extends FakeClock {
  override soon(callback: () => void): Timer {
    const handle = setImmediate(callback)
    return { cancel: () => clearImmediate(handle) }
  }
}

const CONTEXT = Buffer.from('shop.example')

export class SyncNode {
  readonly store: SessionStore
  readonly stores: ReadonlyMap<string, SessionStore>
  readonly stats = zeros(SYNC_COUNTERS)
  /** What this node changed itself, in order. */
  readonly changes: Change[] = []
  isComplete = true
  readonly clock: FakeClock
  readonly #responder: SyncResponder

  constructor(
    clock: FakeClock,
    origin: number,
    items = 10_000,
    otherLimits: Partial<CacheLimits> = {},
  ) {
    this.clock = clock
    const limits = {
      name: 'ssl',
      items,
      keysize: 64,
      blocksize: 4096,
      timeoutMs: 600_000,
      full: 'evict' as const,
      ...otherLimits,
    }
    const versions = new VersionClock(clock)
    // Each node has a seed of its own: what is compared must not depend on it.
    this.store = new SessionStore(limits, {
      clock,
      versions,
      origin,
      seed: Buffer.from(`seed ${origin}`),
    })
    this.store.onChange = (change, from) => {
      if (from === 'local') this.changes.push(copyOf(change))
    }
    this.stores = new Map([['ssl', this.store]])
    const { stores, stats } = this
    const isComplete = () => this.isComplete
    const summary = () => Buffer.from('{}')
    this.#responder = new SyncResponder({
      stores,
      isComplete,
      clock,
      stats,
      summary,
      trace: async () => summary(),
    })
  }

  put(id: string, session = `session of ${id}`): void {
    const entry = { id: Buffer.from(id), context: CONTEXT, serverName: '', ttlMs: 300_000 }
    this.store.put({ ...entry, session: Buffer.from(session) })
  }

  remove(id: string): void {
    this.store.remove(Buffer.from(id), CONTEXT)
  }

  sessionOf(id: string): string | undefined {
    return this.store.contextless.peek(Buffer.from(id))?.session.toString()
  }

  serve(stream: Duplex): Promise<void> {
    return this.#responder.serve(new FrameStream(stream, this.clock))
  }

  caller(stream: Duplex): SyncCaller {
    const { stores, clock, stats } = this
    const random = seededBytes('caller')
    return new SyncCaller({ stores, clock, random, stats }, new FrameStream(stream, clock))
  }

  /** Calls another node, works with it, and ends the connection. */
  async call<Result>(
    peer: SyncNode,
    work: (caller: SyncCaller) => Promise<Result>,
  ): Promise<Result> {
    const [near, far] = duplexPair()
    const served = peer.serve(far)
    const result = await work(this.caller(near))
    near.end()
    await served
    near.destroy()
    return result
  }

  /** Every entry as text, tombstones included, to compare stores. */
  get contents(): string[] {
    const { entries } = this.store
    return [...entries.slots()]
      .map((slot) => entries.changeAt(slot))
      .filter((change) => change !== undefined)
      .map((change) => {
        const { clock, origin } = change.version
        const what = change.kind === 'put' ? Buffer.from(change.session).toString() : 'removed'
        return `${Buffer.from(change.id).toString()} ${clock} ${origin} ${what}`
      })
      .sort()
  }
}

function copyOf(change: Change): Change {
  const id = Buffer.from(change.id)
  if (change.kind === 'remove') return { ...change, id }
  const { context, session } = change
  return { ...change, id, context: Buffer.from(context), session: Buffer.from(session) }
}
