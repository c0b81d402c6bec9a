// Counters of the HTTP frontend, besides those of the caches. They are plain numbers, exported elsewhere.

export interface HttpStats {
  /** Connections open now. */
  connections: number
  /** Requests refused because a page of another origin sent them; the three counters name the header that showed it. */
  foreignHost: number
  foreignOrigin: number
  foreignFetchSite: number
  /** Connections evicted for a new one because there were too many. */
  evictedConnections: number
}

export function createHttpStats(): HttpStats {
  return {
    connections: 0,
    foreignHost: 0,
    foreignOrigin: 0,
    foreignFetchSite: 0,
    evictedConnections: 0,
  }
}
