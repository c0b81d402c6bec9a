// Counters of the sessiond frontend. They are plain numbers, exported elsewhere.

export interface SessiondStats {
  gets: number
  hits: number
  /** Sessions that were found but are too large for an answer; they are misses to the caller. */
  tooLarge: number
  news: number
  /** Requests to store (`new`) that the cache refused. */
  refused: number
  removes: number
  /** Removes that the policy `ignore` left undone. */
  ignoredRemoves: number
  /** Datagrams that are not requests. */
  malformed: number
  /** Answers that the kernel did not take, and other errors of the socket. */
  sendErrors: number
}

export function createSessiondStats(): SessiondStats {
  return {
    gets: 0,
    hits: 0,
    tooLarge: 0,
    news: 0,
    refused: 0,
    removes: 0,
    ignoredRemoves: 0,
    malformed: 0,
    sendErrors: 0,
  }
}
