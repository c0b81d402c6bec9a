// What the frontend for uWSGI's cache commands counts. Plain numbers, exported elsewhere.

export interface UwsgiStats {
  /** Open now. */
  connections: number
  gets: number
  hits: number
  /** Commands that write a value: set and update. */
  puts: number
  /** Of these, those that stored nothing: the cache refused, or a set found the key taken. */
  refused: number
  removes: number
  removeHits: number
  exists: number
  clears: number
  /** Requests that break the protocol, or are cut off. */
  malformed: number
  /** Commands, or kinds of packets, that are not served. */
  unsupported: number
  /** Requests for the memory of a whole cache, which nobody gets. */
  refusedDumps: number
  /** Commands on a cache that is not here. */
  unknownCaches: number
  /** Turned away because the limit of connections was reached. */
  rejectedConnections: number
  /** Closed before the request was whole, or the answer read. */
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
