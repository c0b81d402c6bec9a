// Counters of the rpc frontend. They are plain numbers, exported elsewhere; each cache itself counts the gets and puts
// of all frontends.

export interface RpcStats {
  /** Connections open now. */
  connections: number
  totalConnections: number
  /** Connections closed when they came, at the limit of connections or because accepting them failed. */
  rejectedConnections: number
  /** Connections closed after a timeout: idle, in the middle of a frame, or without reading answers. */
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
  /** Puts that the cache refused. */
  refused: number
  removes: number
  removeHits: number
  pings: number
  /** Calls for a cache that is not configured here. */
  unknownCaches: number
  /** Calls that this version does not know. */
  unknownCalls: number
  /** Calls for which the hooks threw. */
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
