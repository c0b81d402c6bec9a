// What the restart test asks of its hosts, and what they answer. All times are those of the monotonic clock
// of the machine, which its processes share.

export interface RestartSetup {
  readonly name: string
  readonly listen: string
  readonly peers: readonly string[]
  readonly keys: readonly string[]
  /** Sessions of the fill that this host waits for when it starts. */
  readonly expected: number
}

/** Said unasked, when the host has all it waits for and is ready. */
export interface Joined {
  /** When the node began to start, and when it listened. */
  readonly startMs: number
  readonly listeningMs: number
  /** When it first was copying a peer, with live traffic arriving. */
  readonly syncingMs: number
  /** When it held as many sessions as expected, and when it said that it was ready. */
  readonly filledMs: number
  readonly readyMs: number
  readonly reason: string
}

export type RestartCommand =
  /** Puts the sessions `from` to `from + count - 1` of the fill. */
  | { readonly do: 'fill'; readonly from: number; readonly count: number }
  /** How many of the sessions 0 to `count - 1` of the fill are found. */
  | { readonly do: 'found'; readonly count: number }
  /** Begins to put a live session every millisecond: the numbers `lane`, `lane + lanes` and so on. */
  | { readonly do: 'beginLive'; readonly lane: number; readonly lanes: number }
  /** Ends that; answers LivePuts. */
  | { readonly do: 'endLive' }
  /** Live sessions of others that arrived: LiveArrivals. */
  | { readonly do: 'arrivals' }

/** Number of the session, and when. */
export type Moment = readonly [session: number, atMs: number]

export interface LivePuts {
  /** When each was due: a host that is busy puts late, and that counts. */
  readonly dueMs: readonly Moment[]
}

export interface LiveArrivals {
  readonly arrivedMs: readonly Moment[]
}

export function monotonicMs(): number {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1000 + nanoseconds / 1e6
}
