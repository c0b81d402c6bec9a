// The counters of a repeater.

import { by, type CountsOf, counter, one } from '../../base/counters.ts'

const DATAGRAMS = counter(
  'repeater_datagrams_total',
  'Datagrams received; passed on, once however many subscribers there are; and sent.',
)

export const REPEATER_COUNTERS = {
  datagramsReceived: one(DATAGRAMS, { direction: 'received' }),
  /** Datagrams of a subscriber that were passed on, counted once however many other subscribers there are. */
  datagramsPassed: one(DATAGRAMS, { direction: 'passed' }),
  /** Datagrams handed to the network, counted once per destination. */
  datagramsSent: one(DATAGRAMS, { direction: 'sent' }),
  dropped: by(
    'reason',
    {
      malformed: 'it is no datagram or message of this protocol',
      unauthenticated: 'no key of the ring opens it',
      replay: 'it arrived before',
      stale:
        'it is older than the proof that its sender is alive, answers no challenge that is still valid, or is meant ' +
        'for another boot',
      unsubscribed: 'its sender has no subscription',
      unexpected: 'its kind is never sent to a repeater',
      full: 'as many nodes as can be are subscribed already',
      queue_full: 'there was no room to send, or the sender got enough answers in this second',
      throttled:
        'it did not come from the proven address of its sender, and was not decrypted, because too many datagrams of ' +
        'its host had failed to open',
    },
    counter('repeater_dropped_total', 'Datagrams that went no further, by reason.'),
  ),
}

export type RepeaterStats = CountsOf<typeof REPEATER_COUNTERS>
/** Why a repeater drops a datagram. */
export type RepeaterDropReason = keyof RepeaterStats['dropped']
