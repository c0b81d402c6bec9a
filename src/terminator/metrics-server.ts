// Serves the metrics of a terminator over HTTP: GET /metrics, and nothing else.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { HostAddress } from '../base/address.ts'
import { ANSWER_HEADERS, BrowserGuard } from '../base/browser-guard.ts'
import { ConnectionLimit } from '../base/connection-limit.ts'
import { messageOf } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import { listen } from './listen.ts'

export interface MetricsSource {
  readonly contentType: string
  text(): Promise<string>
}

const REQUEST_TIMEOUT_MS = 5000
/** How many times Node looks for late requests within REQUEST_TIMEOUT_MS. */
const LOOKS_PER_TIMEOUT = 10
/** There are few scrapers. When more connections are open, the one that was idle for longest is closed. */
const MAX_CONNECTIONS = 64

export class MetricsServer {
  readonly #server: Server
  readonly #source: MetricsSource
  readonly #logger: Logger
  #guard: BrowserGuard | undefined

  constructor(source: MetricsSource, logger: Logger) {
    this.#source = source
    this.#logger = logger
    const timeouts = {
      requestTimeout: REQUEST_TIMEOUT_MS,
      headersTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: REQUEST_TIMEOUT_MS,
      connectionsCheckingInterval: REQUEST_TIMEOUT_MS / LOOKS_PER_TIMEOUT,
    }
    const limit = new ConnectionLimit(MAX_CONNECTIONS, () => {})
    this.#server = createServer(timeouts, (request, response) => {
      response.on('finish', () => limit.touch(request.socket))
      this.#serve(request, response)
    })
    this.#server.setTimeout(REQUEST_TIMEOUT_MS)
    this.#server.on('connection', (socket) => limit.add(socket))
  }

  /** Resolves with the address and the port that the kernel chose. Rejects with ERR_LISTEN. */
  async start(address: HostAddress): Promise<HostAddress> {
    this.#guard = new BrowserGuard(address, [])
    const bound = await listen(this.#server, address)
    this.#server.on('error', (error) => {
      const reason = messageOf(error)
      this.#logger.warn({ reason }, 'metrics: a connection could not be accepted')
    })
    return bound
  }

  async stop(): Promise<void> {
    if (!this.#server.listening) return
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#server.closeAllConnections()
    await closed
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    for (const [name, value] of Object.entries(ANSWER_HEADERS)) response.setHeader(name, value)
    const text = { 'content-type': 'text/plain' }
    if (this.#guard?.reasonOf(request.headers) !== undefined) {
      response.writeHead(403, text).end('refused: a web page of another origin asks\n')
    } else if (request.url === '/metrics' && request.method === 'GET') void this.#answer(response)
    else response.writeHead(404, text).end('GET /metrics\n')
  }

  async #answer(response: ServerResponse): Promise<void> {
    try {
      const text = await this.#source.text()
      response.writeHead(200, { 'content-type': this.#source.contentType }).end(text)
    } catch (error) {
      this.#logger.error({ reason: messageOf(error) }, 'the metrics could not be gathered')
      response.writeHead(500).end()
    }
  }
}
