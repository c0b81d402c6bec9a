// The status of one peer as a node lists it, for tests that need some.

import type { PeerStatus } from '../../src/replication/peers/presence.ts'

/** A peer that was heard `silentSec` ago, or never: then it has no name. */
export function peerStatus(
  name: string,
  silentSec: number | undefined,
  more: Partial<PeerStatus> = {},
): PeerStatus {
  return {
    role: 'node',
    name,
    address: '10.0.0.9:7171',
    boot: undefined,
    isVerified: name !== '',
    isUp: silentSec !== undefined && silentSec <= 10,
    lastSeenMs: silentSec === undefined ? undefined : silentSec * 1000,
    lagMs: undefined,
    clockDifferenceMs: undefined,
    lost: 0,
    repaired: 0,
    entriesSent: 0,
    entriesReceived: 0,
    sync: undefined,
    ...more,
  }
}
