// The counters of the frontend for uWSGI's cache commands.

import type { CountsOf } from '../../base/counters.ts'
import { event, LOST_CONNECTIONS, OPEN_CONNECTIONS, REMOVES } from '../counters.ts'

export const UWSGI_COUNTERS = {
  ...OPEN_CONNECTIONS,
  gets: event('gets'),
  hits: event('gets that found a value'),
  puts: event('commands that write a value: set and update'),
  refused: event('puts that stored nothing: the cache refused, or a set found the key taken'),
  ...REMOVES,
  exists: event('questions whether a key is there'),
  clears: event('commands that empty the cache'),
  malformed: event('requests that violate the protocol or are cut off'),
  unsupported: event('requests with a command or modifier2 that is not supported'),
  refusedDumps: event('requests for the raw memory of a cache, which are always refused'),
  unknownCaches: event('commands for a cache that is not configured here'),
  ...LOST_CONNECTIONS,
}

export type UwsgiStats = CountsOf<typeof UWSGI_COUNTERS>
