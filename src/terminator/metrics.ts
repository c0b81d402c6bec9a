// The metrics of a terminator, which it collects from its processes on each scrape, and the server that shows them.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Registry } from 'prom-client'
import type { HostAddress } from '../base/address.ts'
import { counter, gauge, type Reading } from '../base/counters.ts'
import { messageOf } from '../base/errors.ts'
import { addMetric, collectLog, createRegistry } from '../base/metrics.ts'
import type { Logger } from '../base/world.ts'
import { ANSWER_HEADERS, BrowserGuard } from '../streams/browser-guard.ts'
import { ConnectionLimit } from '../streams/connection-limit.ts'
import { listen } from '../streams/listener.ts'
import {
  addStats,
  BACKEND_RESULTS,
  createTerminatorStats,
  FAILURE_REASONS,
  GET_RESULTS,
  PUT_RESULTS,
  type TerminatorStats,
  TLS_VERSIONS,
} from './stats.ts'
import type { PoolStats } from './worker-pool.ts'

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
    this.#registry = createRegistry(version)
    this.#addHandshakes()
    this.#addConnections()
    this.#addProcesses()
    collectLog(this.#registry, () => this.#total().droppedLogLines + droppedLogLines())
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  /** Asks the processes for their counters and resolves with all metrics in Prometheus' text format. */
  async text(): Promise<string> {
    this.#stats = await this.#ask()
    return this.#registry.metrics()
  }

  #addHandshakes(): void {
    addMetric(
      this.#registry,
      counter(
        'terminator_handshakes_total',
        'TLS handshakes that got through, by process; resumed as isSessionReused says.',
        'process',
        'version',
        'resumed',
      ),
      () =>
        this.#stats.processes.flatMap(({ handshakes }, index) =>
          TLS_VERSIONS.flatMap((version) => {
            const labels = { process: String(index + 1), version }
            const { full, resumed } = handshakes[version]
            return [
              { labels: { ...labels, resumed: 'no' }, value: full },
              { labels: { ...labels, resumed: 'yes' }, value: resumed },
            ]
          }),
        ),
    )
    addMetric(
      this.#registry,
      counter(
        'terminator_handshake_failures_total',
        'Connections that did not get through their handshake.',
        'reason',
      ),
      () => this.#each('reason', FAILURE_REASONS, ({ failures }) => failures),
    )
    addMetric(
      this.#registry,
      counter(
        'terminator_cache_calls_total',
        'Sessions asked for and put, by what the node answered or why it did not.',
        'call',
        'result',
      ),
      () => [
        ...this.#each('result', GET_RESULTS, ({ cache }) => cache.gets, { call: 'get' }),
        ...this.#each('result', PUT_RESULTS, ({ cache }) => cache.puts, { call: 'put' }),
      ],
    )
  }

  #addConnections(): void {
    addMetric(
      this.#registry,
      gauge('terminator_connections', 'Client connections open now.'),
      () => [{ value: this.#total().connections }],
    )
    addMetric(
      this.#registry,
      counter(
        'terminator_refused_connections_total',
        'Client connections turned away, since as many were open as are allowed.',
      ),
      () => [{ value: this.#total().refused }],
    )
    addMetric(
      this.#registry,
      counter(
        'terminator_backend_connections_total',
        'Connections to backends for clients.',
        'backend',
        'result',
      ),
      () =>
        Object.entries(this.#total().backends).flatMap(([backend, { results }]) =>
          BACKEND_RESULTS.map((result) => ({
            labels: { backend, result },
            value: results[result],
          })),
        ),
    )
    addMetric(
      this.#registry,
      gauge(
        'terminator_backend_up',
        '1 when the backend answered every process last time.',
        'backend',
      ),
      () =>
        Object.entries(this.#total().backends).map(([backend, { isUp }]) => ({
          labels: { backend },
          value: isUp ? 1 : 0,
        })),
    )
  }

  #addProcesses(): void {
    addMetric(
      this.#registry,
      gauge('terminator_processes', 'Processes that serve clients now.'),
      () => [{ value: this.#stats.workers }],
    )
    addMetric(
      this.#registry,
      counter('terminator_process_restarts_total', 'Processes started in place of one that ended.'),
      () => [{ value: this.#stats.restarts }],
    )
  }

  #total(): TerminatorStats {
    return this.#stats.processes.reduce(addStats, createTerminatorStats())
  }

  #each<K extends string>(
    label: string,
    names: readonly K[],
    countsOf: (stats: TerminatorStats) => Readonly<Record<K, number>>,
    labels: Readonly<Record<string, string>> = {},
  ): Reading[] {
    const counts = countsOf(this.#total())
    return names.map((name) => ({ labels: { ...labels, [label]: name }, value: counts[name] }))
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
