// What the sessiond frontend counts. Plain numbers, exported elsewhere.

export interface SessiondStats {
  gets: number
  hits: number
  /** Found, but larger than an answer can be: a miss to the caller. */
  tooLarge: number
  news: number
  /** Of these, sessions that the cache did not take. */
  refused: number
  removes: number
  /** Of these, left undone as the operator wished. */
  ignoredRemoves: number
  /** Datagrams that are no request. */
  malformed: number
  /** Answers the kernel did not take. */
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
