// The HTTP frontend, for people, scripts and Prometheus.

import { type FastifyInstance, type FastifyRequest, fastify } from 'fastify'
import { type Address, formatAddress, isLoopback } from '../../base/address.ts'
import { zeros } from '../../base/counters.ts'
import { messageOf, TlscachedError } from '../../base/errors.ts'
import { type Clock, type Logger, LogLimiter } from '../../base/world.ts'
import { ANSWER_HEADERS, BrowserGuard, type ForeignReason } from '../../streams/browser-guard.ts'
import { ConnectionLimit } from '../../streams/connection-limit.ts'
import { type Frontend, listenOn } from '../../streams/listener.ts'
import { event, OPEN_CONNECTIONS } from '../counters.ts'
import type { HttpBackend } from './backend.ts'
import { answerNoHttp, fault, faultOf, sendFault } from './error-replies.ts'
import { LIVE_COUNTERS, LiveStreams } from './live.ts'
import { addPageRoutes, PAGE_PATHS } from './page.ts'
import {
  addOperatorRoutes,
  addSessionRoutes,
  CLUSTER_PATH,
  OPERATOR_METHODS,
  OPERATOR_PATHS,
  readQuery,
  SESSION_METHODS,
  SESSION_PATH,
  TRACE_PATH,
} from './routes.ts'

export const MAX_CONNECTIONS = 1024
/** Longest time for a whole request, for its answer to be read, and between two requests. A session needs far less. */
const REQUEST_TIMEOUT_MS = 10_000
/** Times per timeout that Node.js looks for late requests. By default it looks only every 30 s. */
const LOOKS_PER_TIMEOUT = 10
/** Time that requests in progress get to finish when the frontend stops. */
const STOP_GRACE_MS = 1000
/** Longest ID or name in a path. It is large, so that a long ID is refused by its length, not as an unknown route. */
const MAX_PARAM_CHARACTERS = 16_384

/** The counters of the HTTP frontend; three name the header by which a page of another origin was recognised. */
export const HTTP_COUNTERS = {
  ...OPEN_CONNECTIONS,
  foreignHost: event('requests refused because of their Host'),
  foreignOrigin: event('requests refused because of their Origin'),
  foreignFetchSite: event('requests refused because of their Sec-Fetch-Site'),
  evictedConnections: event('connections closed for a new one because there were too many'),
  ...LIVE_COUNTERS,
}

const FOREIGN_EVENTS = {
  host: 'foreignHost',
  origin: 'foreignOrigin',
  fetch_site: 'foreignFetchSite',
} as const satisfies Record<ForeignReason, keyof typeof HTTP_COUNTERS>

const FOREIGN_MESSAGES: Record<ForeignReason, string> = {
  host: 'Host: neither localhost, an IP address nor a name of frontends.http_hosts',
  origin: 'Origin: a web page of another origin asks',
  fetch_site: 'Sec-Fetch-Site: a web page of another origin asks',
}

/** Events come for as long as a client reads; it has no use for them from a cache. */
const LIVE_PATH = '/v1/cluster/live'
const LIVE_METHODS = ['GET'] as const
const EVENT_STREAM_HEADERS = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-store',
  connection: 'close',
} as const

const METHODS = ['GET', 'HEAD', 'PUT', 'POST', 'PATCH', 'DELETE', 'OPTIONS']

export interface HttpFrontendOptions {
  readonly listen: Address
  /** The setting that errors name; default `frontends.http`. */
  readonly field?: string
  /** Names by which browsers know the frontend, besides localhost and IP addresses. */
  readonly hosts?: readonly string[] | undefined
  /** Whether sessions may cross the network in clear. */
  readonly isInsecure: boolean
  readonly backend: HttpBackend
  readonly clock: Clock
  readonly logger: Logger
  /** Longest time for a request, for its answer to be read, and between two requests. */
  readonly requestTimeoutMs?: number
}

export class HttpFrontend implements Frontend {
  readonly name = 'http'
  readonly counters = HTTP_COUNTERS
  readonly stats = zeros(HTTP_COUNTERS)
  readonly #options: HttpFrontendOptions
  readonly #faults: LogLimiter
  readonly #limit: ConnectionLimit
  readonly #live: LiveStreams | undefined
  #address: Address
  #app: FastifyInstance | undefined

  constructor(options: HttpFrontendOptions) {
    this.#options = options
    this.#faults = new LogLimiter(options)
    this.#limit = new ConnectionLimit(MAX_CONNECTIONS, () => {
      this.stats.evictedConnections += 1
    })
    const { backend, clock } = options
    const { cluster } = backend
    this.#live = cluster && new LiveStreams({ cluster, clock, stats: this.stats })
    this.#address = options.listen
  }

  get address(): Address {
    return this.#address
  }

  async start(): Promise<void> {
    if (this.#app !== undefined) return
    const { listen, isInsecure, backend, logger, field = 'frontends.http' } = this.#options
    const app = this.createApp()
    this.#app = app
    try {
      await app.ready()
      this.#address = await listenOn(app.server, listen, field)
    } catch (error) {
      this.#app = undefined
      throw error
    }
    app.server.on('error', (error) => {
      this.#faults.warn(() => ({ reason: messageOf(error) }), 'http: server error')
    })
    if (!isLoopback(listen) && backend.caches.size > 0) {
      const address = formatAddress(this.#address)
      if (isInsecure) logger.warn({ address }, 'http: sessions cross the network in clear')
      else logger.warn({ address }, 'http: sessions are refused here, the address is not loopback')
    }
  }

  async stop(): Promise<void> {
    const app = this.#app
    if (app === undefined) return
    this.#app = undefined
    this.#live?.stop()
    const grace = this.#options.clock.after(STOP_GRACE_MS, () => app.server.closeAllConnections())
    app.server.closeIdleConnections()
    await app.close()
    grace.cancel()
  }

  /** Creates the server with its routes, but does not listen, so that tests can inject requests. */
  createApp(): FastifyInstance {
    const { listen, isInsecure, backend } = this.#options
    const { requestTimeoutMs = REQUEST_TIMEOUT_MS } = this.#options
    const app = fastify({
      logger: false,
      connectionTimeout: requestTimeoutMs,
      requestTimeout: requestTimeoutMs,
      keepAliveTimeout: requestTimeoutMs,
      http: {
        headersTimeout: requestTimeoutMs,
        connectionsCheckingInterval: requestTimeoutMs / LOOKS_PER_TIMEOUT,
      },
      routerOptions: { maxParamLength: MAX_PARAM_CHARACTERS },
      clientErrorHandler: answerNoHttp,
      frameworkErrors: (error, _request, reply) =>
        void sendFault(reply.headers(ANSWER_HEADERS), faultOf(error)),
    })
    this.#limitConnections(app)
    this.#refuseForeignPages(app)
    // A body is read as octets, whatever its Content-Type says.
    app.removeAllContentTypeParsers()
    app.addContentTypeParser(
      '*',
      { parseAs: 'buffer' },
      async (_request: unknown, body: Buffer) => body,
    )
    app.setErrorHandler((error, request, reply) => {
      const answer = faultOf(error)
      if (answer.status >= 500) {
        const route = request.routeOptions.url
        this.#faults.error(() => ({ route, reason: messageOf(error) }), 'http: a bug')
      }
      return sendFault(reply, answer)
    })
    app.setNotFoundHandler((_request, reply) => sendFault(reply, fault('ERR_NOT_FOUND')))
    // A repeater has no caches, and so no session routes.
    if (backend.caches.size > 0) {
      addSessionRoutes(app, backend, () => isInsecure || isLoopback(listen))
      refuseOtherMethods(app, SESSION_PATH, SESSION_METHODS)
      refuseOtherMethods(app, TRACE_PATH, OPERATOR_METHODS)
    }
    app.register(async (scope) => addOperatorRoutes(scope, backend))
    for (const path of OPERATOR_PATHS) refuseOtherMethods(app, path, OPERATOR_METHODS)
    if (this.#live !== undefined) {
      addPageRoutes(app)
      for (const path of [CLUSTER_PATH, ...PAGE_PATHS]) {
        refuseOtherMethods(app, path, OPERATOR_METHODS)
      }
      this.#addLiveRoute(app, this.#live)
    }
    return app
  }

  #limitConnections(app: FastifyInstance): void {
    const limit = this.#limit
    app.server.on('connection', (socket) => {
      this.stats.connections += 1
      socket.on('close', () => {
        this.stats.connections -= 1
      })
      limit.add(socket)
    })
    app.addHook('onResponse', (request, _reply, done) => {
      limit.touch(request.raw.socket)
      done()
    })
  }

  #addLiveRoute(app: FastifyInstance, live: LiveStreams): void {
    app.get(LIVE_PATH, { exposeHeadRoute: false }, (request, reply) => {
      readQuery(request, [])
      if (!live.hasRoom()) throw new TlscachedError('ERR_BUSY', 'too many live streams are open')
      const { socket } = request.raw
      // A stream lasts as long as it is read, which LiveStreams watches over.
      this.#limit.release(socket)
      socket.setTimeout(0)
      reply.hijack()
      reply.raw.writeHead(200, { ...ANSWER_HEADERS, ...EVENT_STREAM_HEADERS })
      live.open(reply.raw)
    })
    refuseOtherMethods(app, LIVE_PATH, LIVE_METHODS)
  }

  /** Refuses requests of foreign web pages before their body is read, so that it need not be sent. */
  #refuseForeignPages(app: FastifyInstance): void {
    const { listen, hosts = [] } = this.#options
    const guard = new BrowserGuard(listen, hosts)
    app.addHook('onRequest', (request, reply, done) => {
      reply.headers(ANSWER_HEADERS)
      const reason = guard.reasonOf(request.headers)
      if (reason === undefined || (reason === 'fetch_site' && isVisit(request))) return done()
      this.stats[FOREIGN_EVENTS[reason]] += 1
      done(new TlscachedError('ERR_FOREIGN', FOREIGN_MESSAGES[reason]))
    })
  }
}

/** Whether a browser opens the page because its user followed a link, wherever that was. */
function isVisit({ headers, routeOptions }: FastifyRequest): boolean {
  const isPage = PAGE_PATHS.some((path) => path === routeOptions.url)
  return (
    isPage && headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document'
  )
}

function refuseOtherMethods(app: FastifyInstance, url: string, known: readonly string[]): void {
  const allow = known.join(', ')
  app.route({
    method: METHODS.filter((method) => !known.includes(method)),
    url,
    handler: (_request, reply) => {
      const message = `not a method for this resource; known are ${allow}`
      return sendFault(reply.header('allow', allow), { status: 405, code: 'ERR_USAGE', message })
    },
  })
}
