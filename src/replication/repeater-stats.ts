// What a repeater counts. Plain numbers, exported elsewhere.

/**
 * Why a datagram went no further. `malformed`: no datagram or message of this protocol.
 * `unauthenticated`: no key of the ring opens it. `replay`: was here before. `stale`: older than the proof
 * that its sender is alive, or answers no challenge. `unsubscribed`: its sender proved nothing, or not
 * lately. `unexpected`: of a kind that nobody sends to a repeater. `full`: one subscriber too many.
 * `queue_full`: no room to send, or to answer. `throttled`: of an unknown sender, after too much came from its host that
 * no key opens; it was not tried.
 */
export const REPEATER_DROP_REASONS = [
  'malformed',
  'unauthenticated',
  'replay',
  'stale',
  'unsubscribed',
  'unexpected',
  'full',
  'queue_full',
  'throttled',
] as const
export type RepeaterDropReason = (typeof REPEATER_DROP_REASONS)[number]

export interface RepeaterStats {
  datagramsReceived: number
  /** Handed to the network, once per destination. */
  datagramsSent: number
  /** Received from a subscriber and passed on, once however many others there are. */
  datagramsPassed: number
  readonly dropped: Record<RepeaterDropReason, number>
}

export function createRepeaterStats(): RepeaterStats {
  return {
    datagramsReceived: 0,
    datagramsSent: 0,
    datagramsPassed: 0,
    dropped: {
      malformed: 0,
      unauthenticated: 0,
      replay: 0,
      stale: 0,
      unsubscribed: 0,
      unexpected: 0,
      full: 0,
      queue_full: 0,
      throttled: 0,
    },
  }
}
