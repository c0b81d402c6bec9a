// Keeps what the page knows up to date: a whole document first, then live events, and a question from time to time when
// there are none.

import { type ClusterDocument, withChange } from './cluster-state.ts'

const CLUSTER_URL = 'v1/cluster'
const LIVE_URL = 'v1/cluster/live'
/** Without events for this long the whole document is asked for. */
const SILENCE_MS = 6000
const LOOK_MS = 1000
/** Without any answer for this long the node is not there. */
const LOST_MS = 12_000
/** Time between two questions for the whole document while there are no events. */
const POLL_MS = 5000
/** Time until a stream that was refused is tried again. */
const REOPEN_MS = 30_000

export interface View {
  readonly document: ClusterDocument | undefined
  /** When the last answer or event came, on the clock of `performance`. */
  readonly heardMs: number
  /** `live`: events come. `polling`: questions are answered. `lost`: nothing comes. */
  readonly connection: 'connecting' | 'live' | 'polling' | 'lost'
}

export class Connection {
  readonly #onView: (view: View) => void
  #view: View = { document: undefined, heardMs: 0, connection: 'connecting' }
  #events: EventSource | undefined
  #openedMs = Number.NEGATIVE_INFINITY
  #askedMs = Number.NEGATIVE_INFINITY
  #isAsking = false
  #startedMs = 0

  constructor(onView: (view: View) => void) {
    this.#onView = onView
  }

  start(): void {
    this.#startedMs = performance.now()
    this.#open()
    void this.#ask()
    setInterval(() => this.#look(), LOOK_MS)
  }

  #open(): void {
    this.#openedMs = performance.now()
    this.#events?.close()
    const events = new EventSource(LIVE_URL)
    this.#events = events
    // After a pause there may be samples that no event told.
    events.addEventListener('open', () => void this.#ask())
    // Whether only the stream ended or the node is gone, an answer shows at once.
    events.addEventListener('error', () => void this.#ask())
    events.addEventListener('message', ({ data }) => this.#take(JSON.parse(String(data))))
  }

  #take(change: ClusterDocument): void {
    const { document } = this.#view
    if (document === undefined) return
    const next = withChange(document, change)
    this.#show({ document: next.document, heardMs: performance.now(), connection: 'live' })
    if (!next.isWhole) void this.#ask()
  }

  async #ask(): Promise<void> {
    if (this.#isAsking) return
    this.#isAsking = true
    this.#askedMs = performance.now()
    try {
      const answer = await fetch(CLUSTER_URL, { signal: AbortSignal.timeout(POLL_MS) })
      if (!answer.ok) return
      const document: ClusterDocument = await answer.json()
      const connection = this.#events?.readyState === EventSource.OPEN ? 'live' : 'polling'
      this.#show({ document, heardMs: performance.now(), connection })
    } catch {
      const isLive = this.#events?.readyState === EventSource.OPEN
      if (!isLive) this.#show({ ...this.#view, connection: 'lost' })
    } finally {
      this.#isAsking = false
    }
  }

  #look(): void {
    const nowMs = performance.now()
    const isSilent = nowMs - this.#view.heardMs > SILENCE_MS
    if (isSilent && nowMs - this.#askedMs > POLL_MS) void this.#ask()
    const isClosed = this.#events?.readyState === EventSource.CLOSED
    if (isClosed && nowMs - this.#openedMs > REOPEN_MS) this.#open()
    const isLost = nowMs - Math.max(this.#view.heardMs, this.#startedMs) > LOST_MS
    this.#show(isLost ? { ...this.#view, connection: 'lost' } : this.#view)
  }

  #show(view: View): void {
    this.#view = view
    this.#onView(view)
  }
}
