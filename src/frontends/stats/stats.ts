// What the stats frontend counts. Plain numbers, exported elsewhere.

export interface StatsFrontendStats {
  /** Open now. */
  connections: number
  /** Documents handed out, in whatever way they were asked for. */
  documents: number
  /** Of these, over HTTP. */
  httpDocuments: number
  /** Requests that begin like HTTP and are none. */
  malformed: number
  /** Requests over HTTP refused because a web page of another origin made a browser send them. */
  foreign: number
  /** Turned away because the limit of connections was reached. */
  rejectedConnections: number
  /** Closed before the document was read. */
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
