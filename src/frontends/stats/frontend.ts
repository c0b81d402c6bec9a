// The stats frontend and its document, which work like uWSGI's stats server: every connection gets one JSON document
// and ends. An HTTP GET is answered in HTTP.

import { createServer, type Socket } from 'node:net'
import { zeros } from '../../base/counters.ts'
import type { Timer } from '../../base/world.ts'
import {
  type CacheStatus,
  describeCache,
  describeReplication,
  type ShownNode,
} from '../../status/documents.ts'
import { ANSWER_HEADER_LINES, BrowserGuard } from '../../streams/browser-guard.ts'
import {
  type StreamConnection,
  StreamFrontend,
  type StreamFrontendOptions,
  StreamServer,
} from '../../streams/stream-server.ts'
import { event, LOST_CONNECTIONS, OPEN_CONNECTIONS } from '../counters.ts'

/** A client that sent nothing by then gets the bare document; an HTTP client sends as soon as it is connected. */
export const SILENCE_MS = 100
/** Longest time for a whole request to arrive and for the document to be read. */
export const CONNECTION_MS = 5000
export const MAX_CONNECTIONS = 64
const MAX_REQUEST_BYTES = 8192

const METHOD = 'GET '
const END_OF_REQUEST = '\r\n\r\n'
const FORBIDDEN = 'HTTP/1.0 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n'
const HEADER_LINE = /^(host|origin|sec-fetch-site):[ \t]*(.*?)[ \t]*\r$/gim
const BAD_REQUEST = 'HTTP/1.0 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n'

export const STATS_COUNTERS = {
  ...OPEN_CONNECTIONS,
  documents: event('documents sent, bare or over HTTP'),
  httpDocuments: event('documents sent over HTTP'),
  malformed: event(
    'requests that begin like HTTP and are too long, or end before they are complete',
  ),
  foreign: event(
    'requests over HTTP refused because a web page of another origin made a browser send them',
  ),
  ...LOST_CONNECTIONS,
}

export interface StatsFrontendOptions extends StreamFrontendOptions {
  readonly backend: ShownNode
  readonly process: ProcessFacts
}

export class StatsFrontend extends StreamFrontend {
  readonly name = 'stats'
  readonly counters = STATS_COUNTERS
  readonly stats = zeros(STATS_COUNTERS)
  readonly #options: StatsFrontendOptions
  protected readonly server: StreamServer
  readonly #guard: BrowserGuard

  constructor(options: StatsFrontendOptions) {
    super()
    this.#options = options
    const { address, maxConnections = MAX_CONNECTIONS } = options
    this.#guard = new BrowserGuard(address, [])
    this.server = new StreamServer({
      address,
      field: 'frontends.stats',
      clock: options.clock,
      // Half open, so that a client that ends its side without a request still gets the document.
      createServer: () => createServer({ allowHalfOpen: true }),
      maxConnections,
      stats: this.stats,
      open: (socket, onClose) => this.#open(socket, onClose),
      deadlineMs: CONNECTION_MS,
    })
  }

  #open(socket: Socket, onClose: () => void): StreamConnection {
    const { clock } = this.#options
    let request = ''
    let isAnswered = false
    let silence: Timer | undefined
    const answer = (text: string) => {
      isAnswered = true
      silence?.cancel()
      socket.end(text)
    }
    silence = clock.after(SILENCE_MS, () => answer(this.#document()))
    socket.setEncoding('latin1')
    socket.on('data', (chunk: string) => {
      if (isAnswered) return
      silence?.cancel()
      request += chunk
      const reply = this.#answerTo(request)
      if (reply !== undefined) answer(reply)
    })
    socket.on('end', () => {
      if (isAnswered) return
      answer(request === '' ? this.#document() : this.#badRequest())
    })
    socket.on('error', () => socket.destroy())
    socket.on('close', () => {
      silence?.cancel()
      onClose()
    })
    return { close: () => socket.destroy() }
  }

  /** Returns the answer to the bytes of a request that came so far; undefined when more must come. */
  #answerTo(request: string): string | undefined {
    const isHttp = request.startsWith(METHOD)
    if (!isHttp && !METHOD.startsWith(request)) return this.#document()
    if (request.length > MAX_REQUEST_BYTES) return this.#badRequest()
    if (!request.includes(END_OF_REQUEST)) return undefined
    return this.#isForeign(request) ? this.#forbidden() : this.#httpDocument()
  }

  /** Whether a web page of another origin made a browser send this request. */
  #isForeign(request: string): boolean {
    const headers = [...request.matchAll(HEADER_LINE)].map(([, name = '', value = '']) => [
      name.toLowerCase(),
      value,
    ])
    return this.#guard.reasonOf(Object.fromEntries(headers)) !== undefined
  }

  #forbidden(): string {
    this.stats.foreign += 1
    return FORBIDDEN
  }

  #badRequest(): string {
    this.stats.malformed += 1
    return BAD_REQUEST
  }

  #document(): string {
    this.stats.documents += 1
    return formatStats(this.#options.backend, this.#options.process)
  }

  #httpDocument(): string {
    this.stats.httpDocuments += 1
    const body = this.#document()
    return (
      'HTTP/1.0 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\n' +
      `${ANSWER_HEADER_LINES}Cache-Control: no-store\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
    )
  }
}

// The document of the stats frontend. Programs that read uWSGI's document find its fields here with the same meaning;
// the fields of this program follow them.

/** Value of the field `hash`. `hashsize` is the limit of items, as the index has no fixed number of buckets. */
const HASH = 'fibonacci'

export interface ProcessFacts {
  readonly version: string
  readonly pid: number
}

/** Returns one JSON document with a newline at its end. */
export function formatStats(backend: ShownNode, { version, pid }: ProcessFacts): string {
  const document = {
    version: `tlscached-${version}`,
    pid,
    caches: [...backend.caches.values()].map(describe),
    ...describeReplication(backend),
  }
  return `${JSON.stringify(document, null, 1)}\n`
}

function describe(cache: CacheStatus) {
  const { limits, stats } = cache
  const { hit, ...misses } = stats.gets
  const { name, items, keysize, blocksize } = limits
  return {
    name,
    hash: HASH,
    hashsize: items,
    keysize,
    max_items: items,
    blocks: items,
    blocksize,
    items: stats.items,
    hits: hit,
    // An expired session and one of another context count as misses, since they were not returned.
    miss: Object.values(misses).reduce((sum, count) => sum + count, 0),
    // uWSGI counts here all puts that found no room, whether they were refused or evicted another session.
    full: stats.puts.full + stats.evicted,
    last_modified_at: Math.floor(stats.changedWallMs / 1000),
    // The fields of this program follow, without those that are above already.
    ...ownFieldsOf(cache),
  }
}

function ownFieldsOf(cache: CacheStatus) {
  const {
    name: _name,
    items: _items,
    keysize: _keysize,
    blocksize: _blocksize,
    full,
    ...own
  } = describeCache(cache)
  return { ...own, when_full: full }
}
