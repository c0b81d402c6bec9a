// What the rpc frontend counts. Plain numbers, exported elsewhere; gets and puts of the caches as a whole
// are in their own.

export interface RpcStats {
  /** Open now. */
  connections: number
  totalConnections: number
  /** Turned away because the limit of connections was reached. */
  rejectedConnections: number
  /** Closed after being silent for too long, in the middle of a frame, or without reading answers. */
  timedOutConnections: number
  bytesRead: number
  bytesWritten: number
  /** Connections closed over a frame that is empty or too long. */
  malformedLength: number
  /** Connections closed over a frame that is no request, or beyond the limits of one. */
  malformedRequest: number
  gets: number
  getHits: number
  puts: number
  /** Of these, what the cache refused. */
  refused: number
  removes: number
  removeHits: number
  pings: number
  /** Calls for a cache that is not configured here. */
  unknownCaches: number
  /** Calls that this version does not know. */
  unknownCalls: number
  /** Calls over which the hooks threw. */
  failed: number
}

export function createRpcStats(): RpcStats {
  return {
    connections: 0,
    totalConnections: 0,
    rejectedConnections: 0,
    timedOutConnections: 0,
    bytesRead: 0,
    bytesWritten: 0,
    malformedLength: 0,
    malformedRequest: 0,
    gets: 0,
    getHits: 0,
    puts: 0,
    refused: 0,
    removes: 0,
    removeHits: 0,
    pings: 0,
    unknownCaches: 0,
    unknownCalls: 0,
    failed: 0,
  }
}
