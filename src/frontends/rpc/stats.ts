// The counters of the rpc frontend; each cache itself counts the gets and puts of all frontends.

import type { CountsOf } from '../../base/counters.ts'
import { event, KEPT_OPEN, REMOVES } from '../counters.ts'

export const RPC_COUNTERS = {
  ...KEPT_OPEN,
  malformedLength: event('connections closed over a frame that is empty or too long'),
  malformedRequest: event(
    'connections closed over a frame that is no request, or beyond the limits of one',
  ),
  gets: event('gets'),
  getHits: event('gets that found a session'),
  puts: event('puts'),
  refused: event('puts that the cache refused'),
  ...REMOVES,
  pings: event('pings'),
  logLevels: event('calls that asked for the level of the log, or set it'),
  rotations: event('calls that made a ticket key'),
  ticketWatches: event('calls that watch the ticket keys of a group'),
  ticketUpdates: event('ticket keys sent to those who watch them'),
  forbidden: event('calls that only a unix socket takes, over another connection'),
  unknownCaches: event('calls for a cache that is not configured here'),
  unknownGroups: event('calls for a group of ticket keys that is not configured here'),
  unknownCalls: event('calls that this version does not know'),
  failed: event('calls for which the hooks threw'),
}

export type RpcStats = CountsOf<typeof RPC_COUNTERS>
