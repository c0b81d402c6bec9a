// The sentence of /readyz, for every state and what is heard in it.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PeerStatus } from '../../src/replication/peers/presence.ts'
import type { SyncState } from '../../src/replication/sync/synchronizer.ts'
import { readinessOf } from '../../src/status/readiness.ts'
import { peerStatus } from '../support/peer-status.ts'

const peer = (name: string, silentSec: number | undefined, address = '10.0.0.9:7171') =>
  peerStatus(name, silentSec, { address })

const MANY = Array.from({ length: 8 }, (_, index) => peer(`edge-${index}`, 1))
const REPEATER: PeerStatus = { ...peer('r', 1), role: 'repeater' }

/** State, peers, whether it is ready, whether it strictly is, the sentence. */
const cases: readonly [SyncState, readonly PeerStatus[], boolean, boolean, string][] = [
  ['joining', [], false, false, 'looking for peers'],
  ['syncing', [peer('edge-2', 0)], false, false, 'copying the sessions of edge-2'],
  [
    'synced',
    [peer('edge-2', 3), peer('edge-3', 1)],
    true,
    true,
    'replicating with edge-2, edge-3, synchronized with edge-2 12 s ago',
  ],
  [
    'synced',
    [peer('edge-2', 42), peer('edge-3', 1), peer('edge-3', 20)],
    true,
    true,
    'replicating with edge-3, synchronized with edge-2 12 s ago; ' +
      'edge-2 has been silent for 42 s',
  ],
  [
    'synced',
    MANY,
    true,
    true,
    'replicating with edge-0, edge-1, edge-2, edge-3, edge-4 and 3 more, ' +
      'synchronized with edge-2 12 s ago',
  ],
  ['synced', [peer('edge-2', 11)], true, false, 'serves alone: edge-2 has been silent for 11 s'],
  ['alone', [peer('edge-2', 453)], true, false, 'serves alone: edge-2 has been silent for 453 s'],
  ['alone', [REPEATER], true, false, 'serves alone: no peer found'],
  [
    'alone',
    [peer('', undefined, '10.0.0.2:7171'), peer('', undefined, '10.0.0.3:7171')],
    true,
    false,
    'serves alone: no peer found, nobody answers at 10.0.0.2:7171, 10.0.0.3:7171',
  ],
  [
    'alone',
    [peer('edge-2', 1)],
    true,
    false,
    'hears edge-2, but did not compare sessions with it yet',
  ],
  [
    'failed',
    [peer('edge-2', 1)],
    true,
    false,
    'the copy of a peer broke off, its sessions may be missing here',
  ],
]

for (const [state, peers, isReady, isStrictlyReady, reason] of cases) {
  test(`${state}: ${reason}`, () => {
    const sync = { state, peer: 'edge-2', lastSyncedMs: 12_345 }
    assert.deepEqual(readinessOf(sync, peers), { isReady, isStrictlyReady, reason })
  })
}

test('a node that is to replicate with nobody misses nothing', () => {
  const reason = 'no replication'
  assert.deepEqual(readinessOf(undefined, []), { isReady: true, isStrictlyReady: true, reason })
})
