// Serves the metrics of a terminator over HTTP: GET /metrics, and nothing else.

import { createServer, type Server, type ServerResponse } from 'node:http'
import type { HostAddress } from '../base/address.ts'
import { messageOf } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import { listen } from './listen.ts'

export interface MetricsSource {
  readonly contentType: string
  text(): Promise<string>
}

const REQUEST_TIMEOUT_MS = 5000
/** Scrapers, of which there are few. */
const MAX_CONNECTIONS = 64

export class MetricsServer {
  readonly #server: Server
  readonly #source: MetricsSource
  readonly #logger: Logger

  constructor(source: MetricsSource, logger: Logger) {
    this.#source = source
    this.#logger = logger
    const timeouts = { requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: REQUEST_TIMEOUT_MS }
    this.#server = createServer(timeouts, (request, response) => {
      const isScrape = request.url === '/metrics' && request.method === 'GET'
      if (isScrape) void this.#answer(response)
      else response.writeHead(404, { 'content-type': 'text/plain' }).end('GET /metrics\n')
    })
    this.#server.maxConnections = MAX_CONNECTIONS
  }

  /** Where it listens. Rejects with ERR_LISTEN. */
  async start(address: HostAddress): Promise<HostAddress> {
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
