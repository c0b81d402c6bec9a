// Counters of the memcached frontend. They are plain numbers, exported elsewhere; the cache itself counts the gets and
// puts of all frontends.

export interface MemcachedStats {
  /** Connections open now. */
  connections: number
  totalConnections: number
  /** Connections closed when they came, at the limit of connections or because accepting them failed. */
  rejectedConnections: number
  /** Connections closed after a timeout: idle, in the middle of a command, or without reading answers. */
  timedOutConnections: number
  bytesRead: number
  bytesWritten: number
  /** Commands that could not be parsed, unknown ones included, and headers and lines that were too long. */
  malformed: number
  /** Connections closed because the peer spoke HTTP, as a browser does when a web page makes it connect. */
  httpRequests: number
  /** Connections closed because a line began with a byte that no command has, as a TLS handshake does. */
  foreignBytes: number
  gets: number
  getHits: number
  /** Commands that write a value: set, add, replace, append, prepend, cas. */
  puts: number
  /** Commands that the cache refused, among all that write a value: increments and decrements too. */
  refused: number
  touches: number
  touchHits: number
  removes: number
  removeHits: number
  increments: number
  incrementHits: number
  decrements: number
  decrementHits: number
  casHits: number
  casMisses: number
  casMismatches: number
  flushes: number
}

export function createMemcachedStats(): MemcachedStats {
  return {
    connections: 0,
    totalConnections: 0,
    rejectedConnections: 0,
    timedOutConnections: 0,
    bytesRead: 0,
    bytesWritten: 0,
    malformed: 0,
    httpRequests: 0,
    foreignBytes: 0,
    gets: 0,
    getHits: 0,
    puts: 0,
    refused: 0,
    touches: 0,
    touchHits: 0,
    removes: 0,
    removeHits: 0,
    increments: 0,
    incrementHits: 0,
    decrements: 0,
    decrementHits: 0,
    casHits: 0,
    casMisses: 0,
    casMismatches: 0,
    flushes: 0,
  }
}
