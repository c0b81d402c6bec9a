// The metrics of a terminator, which it collects from its processes on each scrape, and the server that shows them.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Registry } from 'prom-client'
import type { Address } from '../base/address.ts'
import { counter, gauge, type Reading } from '../base/counters.ts'
import { messageOf } from '../base/errors.ts'
import {
  addCounters,
  addMetric,
  type CountsSource,
  collectLog,
  createRegistry,
} from '../base/metrics.ts'
import { type Logger, systemClock } from '../base/world.ts'
import { ANSWER_HEADERS, BrowserGuard } from '../streams/browser-guard.ts'
import { ConnectionLimit } from '../streams/connection-limit.ts'
import { StreamServer } from '../streams/stream-server.ts'
import {
  addStats,
  BACKEND_COUNTERS,
  createTerminatorStats,
  HANDSHAKE_COUNTERS,
  TERMINATOR_COUNTERS,
} from './stats.ts'
import type { PoolStats } from './worker-pool.ts'

/** The metrics that are measured, and not counted in one process. */
export const MEASURED = {
  backendUp: gauge(
    'terminator_backend_up',
    '1 when the backend answered every process last time.',
    'backend',
  ),
  processes: gauge('terminator_processes', 'Processes that serve clients now.'),
  restarts: counter(
    'terminator_process_restarts_total',
    'Processes started in place of one that ended.',
  ),
}

export class TerminatorMetrics {
  readonly #registry: Registry
  readonly #ask: () => Promise<PoolStats>
  #stats: PoolStats = { workers: 0, restarts: 0, processes: [] }

  /**
   * `droppedLogLines` returns the number of log lines that this process dropped; it is added to those of the
   * workers.
   */
  constructor(version: string, ask: () => Promise<PoolStats>, droppedLogLines = () => 0) {
    this.#ask = ask
    const registry = createRegistry(version)
    this.#registry = registry
    addCounters(registry, [HANDSHAKE_COUNTERS], () =>
      this.#stats.processes.map((counts, index) => ({
        declaration: HANDSHAKE_COUNTERS,
        counts,
        labels: { process: String(index + 1) },
      })),
    )
    addCounters(registry, [TERMINATOR_COUNTERS, BACKEND_COUNTERS], () => this.#sources())
    addMetric(registry, MEASURED.backendUp, () => this.#backendsUp())
    addMetric(registry, MEASURED.processes, () => [{ value: this.#stats.workers }])
    addMetric(registry, MEASURED.restarts, () => [{ value: this.#stats.restarts }])
    collectLog(registry, () => this.#droppedLogLines() + droppedLogLines())
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  /** Asks the processes for their counters and resolves with all metrics in Prometheus' text format. */
  async text(): Promise<string> {
    this.#stats = await this.#ask()
    return this.#registry.metrics()
  }

  /** Returns the sum of all processes, zeros when there are none; the backends are counted by their address. */
  #sources(): readonly CountsSource[] {
    return [createTerminatorStats(), ...this.#stats.processes].flatMap((counts) => [
      { declaration: TERMINATOR_COUNTERS, counts },
      ...Object.entries(counts.backends).map(([backend, results]) => ({
        declaration: BACKEND_COUNTERS,
        counts: results,
        labels: { backend },
      })),
    ])
  }

  #backendsUp(): Reading[] {
    const all = this.#stats.processes.reduce(addStats, createTerminatorStats())
    return Object.entries(all.backends).map(([backend, { isUp }]) => ({
      labels: { backend },
      value: isUp ? 1 : 0,
    }))
  }

  #droppedLogLines(): number {
    return this.#stats.processes.reduce((sum, { droppedLogLines }) => sum + droppedLogLines, 0)
  }
}

// Serves the metrics of a terminator over HTTP: GET /metrics, and nothing else.

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
  readonly #source: MetricsSource
  readonly #logger: Logger
  #guard: BrowserGuard | undefined
  #server: StreamServer | undefined

  constructor(source: MetricsSource, logger: Logger) {
    this.#source = source
    this.#logger = logger
  }

  /** Resolves with the address and the port that the kernel chose. Rejects with ERR_LISTEN. */
  async start(address: Address): Promise<Address> {
    this.#guard = new BrowserGuard(address, [])
    const limit = new ConnectionLimit(MAX_CONNECTIONS, () => {})
    const server = new StreamServer({
      address,
      field: 'metrics',
      clock: systemClock,
      createServer: () => this.#createServer(limit),
      // The limit closes the connection that was idle for longest.
      maxConnections: Number.POSITIVE_INFINITY,
      stats: { connections: 0, rejectedConnections: 0, timedOutConnections: 0 },
      open: (socket, onClose) => {
        limit.add(socket)
        socket.on('close', onClose)
        return { close: () => socket.destroy() }
      },
      onFailure: (error) => {
        const reason = messageOf(error)
        this.#logger.warn({ reason }, 'metrics: a connection could not be accepted')
      },
    })
    await server.start()
    this.#server = server
    return server.address
  }

  async stop(): Promise<void> {
    await this.#server?.stop()
  }

  #createServer(limit: ConnectionLimit): Server {
    const timeouts = {
      requestTimeout: REQUEST_TIMEOUT_MS,
      headersTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: REQUEST_TIMEOUT_MS,
      connectionsCheckingInterval: REQUEST_TIMEOUT_MS / LOOKS_PER_TIMEOUT,
    }
    const server = createServer(timeouts, (request, response) => {
      response.on('finish', () => limit.touch(request.socket))
      this.#serve(request, response)
    })
    return server.setTimeout(REQUEST_TIMEOUT_MS)
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
