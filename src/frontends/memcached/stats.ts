// What the memcached frontend counts. Plain numbers, exported elsewhere; gets and puts of the cache as a
// whole are in the cache's own.

export interface MemcachedStats {
  /** Open now. */
  connections: number
  totalConnections: number
  /** Turned away because the limit of connections was reached. */
  rejectedConnections: number
  /** Closed after being silent for too long, in the middle of a command, or without reading answers. */
  timedOutConnections: number
  bytesRead: number
  bytesWritten: number
  /** Commands that no parser could make sense of, and headers and lines that were too long. */
  malformed: number
  /** Connections closed because their peer spoke HTTP, as a browser does that a web page sends here. */
  httpRequests: number
  /** Connections closed because a line began with a byte that no command has, as a TLS handshake does. */
  foreignBytes: number
  gets: number
  getHits: number
  /** Commands that write a value: set, add, replace, append, prepend, cas. */
  puts: number
  /** Of all that write, those that the cache refused. */
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
