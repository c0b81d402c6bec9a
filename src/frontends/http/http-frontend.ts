// The HTTP frontend: what a person, a script and Prometheus talk to.

import { type FastifyInstance, fastify } from 'fastify'
import { type Address, formatAddress, isLoopback } from '../../base/address.ts'
import type { Clock } from '../../base/clock.ts'
import { messageOf } from '../../base/errors.ts'
import { type Logger, LogLimiter } from '../../base/logger.ts'
import { type Frontend, listenOn } from '../frontend.ts'
import type { HttpBackend } from './backend.ts'
import { answerNoHttp, fault, faultOf, sendFault } from './error-replies.ts'
import { addOperatorRoutes, OPERATOR_METHODS, OPERATOR_PATHS } from './operator-routes.ts'
import { addSessionRoutes, SESSION_METHODS, SESSION_PATH } from './session-routes.ts'

const MAX_CONNECTIONS = 1024
/** For a whole request; a session of 64 KiB comes in far less. */
const REQUEST_TIMEOUT_MS = 10_000
const KEEP_ALIVE_TIMEOUT_MS = 60_000
/** For requests that are under way when the frontend stops. */
const STOP_GRACE_MS = 1000
/** Paths are bounded by Node's limit on a request's head; a long ID shall be an ID too long, not no route. */
const MAX_PARAM_CHARACTERS = 16_384

const METHODS = ['GET', 'HEAD', 'PUT', 'POST', 'PATCH', 'DELETE', 'OPTIONS']

export interface HttpFrontendOptions {
  readonly listen: Address
  /** The setting that errors name; default `frontends.http`. */
  readonly field?: string
  /** Whether sessions may cross the network in clear. */
  readonly isInsecure: boolean
  readonly backend: HttpBackend
  readonly clock: Clock
  readonly logger: Logger
}

export class HttpFrontend implements Frontend {
  readonly name = 'http'
  readonly #options: HttpFrontendOptions
  readonly #faults: LogLimiter
  #address: Address
  #app: FastifyInstance | undefined

  constructor(options: HttpFrontendOptions) {
    this.#options = options
    this.#faults = new LogLimiter(options.clock)
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
      this.#faults.pass(() => logger.warn({ reason: messageOf(error) }, 'http: server error'))
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
    const grace = this.#options.clock.after(STOP_GRACE_MS, () => app.server.closeAllConnections())
    app.server.closeIdleConnections()
    await app.close()
    grace.cancel()
  }

  /** The routes without a socket, for tests that inject requests. */
  createApp(): FastifyInstance {
    const { listen, isInsecure, backend, logger } = this.#options
    const app = fastify({
      logger: false,
      requestTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
      http: { headersTimeout: REQUEST_TIMEOUT_MS },
      routerOptions: { maxParamLength: MAX_PARAM_CHARACTERS },
      clientErrorHandler: answerNoHttp,
      frameworkErrors: (error, _request, reply) => void sendFault(reply, faultOf(error)),
    })
    app.server.maxConnections = MAX_CONNECTIONS
    // Bodies are octets whatever their sender calls them.
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
        this.#faults.pass(() => logger.error({ route, reason: messageOf(error) }, 'http: a bug'))
      }
      return sendFault(reply, answer)
    })
    app.setNotFoundHandler((_request, reply) => sendFault(reply, fault(404, 'ERR_NOT_FOUND')))
    // A repeater has none.
    if (backend.caches.size > 0) {
      addSessionRoutes(app, backend, () => isInsecure || isLoopback(listen))
      refuseOtherMethods(app, SESSION_PATH, SESSION_METHODS)
    }
    app.register(async (scope) => addOperatorRoutes(scope, backend))
    for (const path of OPERATOR_PATHS) refuseOtherMethods(app, path, OPERATOR_METHODS)
    return app
  }
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
