// The counters of the memcached frontend; the cache itself counts the gets and puts of all frontends.

import type { CountsOf } from '../../base/counters.ts'
import { event, KEPT_OPEN, REMOVES } from '../counters.ts'

export const MEMCACHED_COUNTERS = {
  ...KEPT_OPEN,
  malformed: event(
    'commands that could not be parsed, unknown ones included, and headers and lines that were too long',
  ),
  httpRequests: event(
    'connections closed because the peer spoke HTTP, as a browser does when a web page makes it connect',
  ),
  foreignBytes: event(
    'connections closed because a line began with a byte that no command has, as a TLS handshake does',
  ),
  gets: event('keys asked for'),
  getHits: event('keys found'),
  puts: event('commands that write a value: set, add, replace, append, prepend, cas'),
  refused: event(
    'commands that the cache refused, among all that write a value: increments and decrements too',
  ),
  touches: event('commands that change a lifetime'),
  touchHits: event('those that found the key'),
  ...REMOVES,
  increments: event('increments'),
  incrementHits: event('increments that found the key'),
  decrements: event('decrements'),
  decrementHits: event('decrements that found the key'),
  casHits: event('values replaced by cas'),
  casMisses: event('cas commands that did not find the key'),
  casMismatches: event('cas commands that found another version'),
  flushes: event('commands that empty the cache'),
}

export type MemcachedStats = CountsOf<typeof MEMCACHED_COUNTERS>
