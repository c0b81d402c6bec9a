// The counters of a repeater: plain numbers, which metrics read.

/**
 * Reasons for which a repeater drops a datagram. `malformed`: it is no datagram or message of this protocol.
 * `unauthenticated`: no key of the ring opens it. `replay`: it arrived before. `stale`: it is older than the proof that
 * its sender is alive, answers no challenge that is still valid, or is meant for another boot. `unsubscribed`: its
 * sender has no subscription. `unexpected`: its kind is never sent to a repeater. `full`: there are MAX_SUBSCRIBERS
 * already. `queue_full`: there was no room to send, or the sender got enough answers in this second. `throttled`: it
 * did not come from the proven address of its sender, and was not decrypted, because too many datagrams of its host had
 * failed to open.
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
  /** Datagrams handed to the network, counted once per destination. */
  datagramsSent: number
  /** Datagrams of a subscriber that were passed on, counted once however many other subscribers there are. */
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
