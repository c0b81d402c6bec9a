// Counters of the stats frontend. They are plain numbers, exported elsewhere.

export interface StatsFrontendStats {
  /** Connections open now. */
  connections: number
  /** Documents sent, bare or over HTTP. */
  documents: number
  /** Documents sent over HTTP. */
  httpDocuments: number
  /** Requests that begin like HTTP and are too long, or end before they are complete. */
  malformed: number
  /** Requests over HTTP refused because a web page of another origin made a browser send them. */
  foreign: number
  /** Connections closed when they came, at the limit of connections or because accepting them failed. */
  rejectedConnections: number
  /** Connections closed after CONNECTION_MS, before the request was complete or the document was read. */
  timedOutConnections: number
}

export function createStatsFrontendStats(): StatsFrontendStats {
  return {
    connections: 0,
    documents: 0,
    httpDocuments: 0,
    malformed: 0,
    foreign: 0,
    rejectedConnections: 0,
    timedOutConnections: 0,
  }
}
