// A synchronizer among nodes in this process, on a clock that a test turns.

import type { Duplex } from 'node:stream'
import { silentLogger } from '../../src/base/world.ts'
import type { JoinState } from '../../src/replication/replicator.ts'
import { FrameStream } from '../../src/replication/sync/stream.ts'
import { Synchronizer, type SyncPeer } from '../../src/replication/sync/synchronizer.ts'
import { duplexPair } from './duplex-pair.ts'
import { seededBytes } from './seeded-random.ts'
import { SyncNode, TurningClock } from './sync-node.ts'

export const INTERVAL_MS = 30_000

export interface TestPeer extends SyncPeer {
  readonly node: SyncNode
  /** What serves the far end. */
  readonly serve: (stream: Duplex) => void
}

export function peerOf(nodeName: string, node: SyncNode, serve?: TestPeer['serve']): TestPeer {
  return {
    key: nodeName,
    nodeName,
    isPressing: () => false,
    node,
    serve: serve ?? ((far) => void node.serve(far).catch(() => {})),
  }
}

type Connect = (peer: TestPeer, signal: AbortSignal) => Promise<FrameStream>

/** `connect`: instead of a connection in memory. */
export function setUpSynchronizer(origins: readonly number[], connect?: Connect) {
  const clock = new TurningClock()
  const nodes = origins.map((origin) => new SyncNode(clock, origin))
  const own = new SyncNode(clock, 99)
  const state: { joinState: JoinState; peers: TestPeer[] } = { joinState: 'joining', peers: [] }
  const called: string[] = []
  const synchronizer = new Synchronizer<TestPeer>({
    stores: own.stores,
    stats: own.stats,
    clock,
    random: seededBytes('synchronizer'),
    logger: silentLogger,
    digestIntervalMs: INTERVAL_MS,
    peers: () => state.peers,
    joinState: () => state.joinState,
    connect: (peer, signal) => {
      called.push(peer.nodeName)
      if (connect !== undefined) return connect(peer, signal)
      const [near, far] = duplexPair()
      peer.serve(far)
      return Promise.resolve(new FrameStream(near, clock))
    },
  })
  return { clock, nodes, own, state, called, synchronizer }
}

/** Lets pass so many turns of the event loop as an exchange in memory may take. */
export async function settle(clock: TurningClock): Promise<void> {
  for (let turns = 0; turns < 100; turns += 1) {
    await new Promise((resolve) => setImmediate(resolve))
    clock.advance(0)
  }
}

/** Serves nothing: ends the connection at once. */
export const refuses = (far: Duplex) => void far.destroy()
