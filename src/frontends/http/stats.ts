// What the HTTP frontend counts beside the caches. Plain numbers, exported elsewhere.

export interface HttpStats {
  /** Open now. */
  connections: number
  /** Requests refused because a page of another origin sent them, by what told so. */
  foreignHost: number
  foreignOrigin: number
  foreignFetchSite: number
  /** Connections that gave way to a new one because there were too many. */
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
