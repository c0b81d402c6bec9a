// Counters of the frontend for uWSGI's cache commands. They are plain numbers, exported elsewhere.

export interface UwsgiStats {
  /** Connections open now. */
  connections: number
  gets: number
  hits: number
  /** Commands that write a value: set and update. */
  puts: number
  /** Puts that stored nothing: the cache refused, or a set found the key taken. */
  refused: number
  removes: number
  removeHits: number
  exists: number
  clears: number
  /** Requests that violate the protocol or are cut off. */
  malformed: number
  /** Requests with a command or modifier2 that is not supported. */
  unsupported: number
  /** Requests for the raw memory of a cache, which are always refused. */
  refusedDumps: number
  /** Commands for a cache that is not configured here. */
  unknownCaches: number
  /** Connections closed when they came, at the limit of connections or because accepting them failed. */
  rejectedConnections: number
  /** Connections closed after CONNECTION_MS, before the request was complete or the answer was read. */
  timedOutConnections: number
}

export function createUwsgiStats(): UwsgiStats {
  return {
    connections: 0,
    gets: 0,
    hits: 0,
    puts: 0,
    refused: 0,
    removes: 0,
    removeHits: 0,
    exists: 0,
    clears: 0,
    malformed: 0,
    unsupported: 0,
    refusedDumps: 0,
    unknownCaches: 0,
    rejectedConnections: 0,
    timedOutConnections: 0,
  }
}
