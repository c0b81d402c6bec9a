// Joins a Node.js TLS server (tls, https, http2, fastify's) to a session cache.
//
// Node.js emits 'resumeSession' for a lookup and holds the handshake until the callback is called. So the callback is
// called exactly once, at the deadline at the latest, whatever the cache does. Node.js emits 'newSession' for a session
// to store; that callback is called as soon as the put is on its way, so that a put never holds a handshake, and a client
// that comes back at once to another process does not come before its session.
//
// In TLS 1.3 the ID that 'resumeSession' passes is a random number, and no version passes the server name. The session
// and the name are in the ClientHello, which hello-peek.ts reads. OpenSSL uses the answer of 'resumeSession' for the
// first pre-shared key of the client, so that key and no other is looked up.

import { executionAsyncResource } from 'node:async_hooks'
import type { Server, TLSSocket } from 'node:tls'
import { idPrefix } from '../base/bytes.ts'
import { messageOf } from '../base/errors.ts'
import {
  type Clock,
  type Logger,
  LogLimiter,
  silentLogger,
  systemClock,
  type Timer,
} from '../base/world.ts'
import {
  type EncodedSession,
  isContextOf,
  isSameBytes,
  TLS_1_3,
  tryReadEncodedSession,
} from '../session/encoded-session.ts'
import { isRefusal, PUT_RESULTS } from '../store/stats.ts'
import { type AttachOptions, checkAttachOptions, DEFAULT_DEADLINE_MS } from './attach-options.ts'
import { HelloPeek, type PeekedConnection } from './hello-peek.ts'
import type { Awaitable, FoundSession, SessionHooks } from './hooks.ts'
import {
  checkIsServer,
  checkServer,
  demandsCertificate,
  keepSetup,
  speaksTls13,
  watchSiblings,
} from './server-setup.ts'
import { createSessionCacheStats, type SessionCacheStats } from './stats.ts'

/** A TLS server that is joined to a cache. */
export interface SessionCacheBinding {
  /** Counters since the server was joined, and `diagnosis`: one sentence about what resumes, or why nothing does. */
  readonly stats: SessionCacheStats
  /** Leaves the server. Handshakes that wait for the cache go on as full ones. Idempotent. */
  detach(): void
}

/**
 * Joins a TLS server (`tls`, `https`, secure `http2`, fastify's) to a cache: stores the sessions that it makes, and
 * resumes those that any server stored under the same context. The worst that a cache can do is a full handshake.
 *
 * The server needs `secureOptions: constants.SSL_OP_NO_TICKET` and a `sessionIdContext` equal to `options.context`. TLS
 * 1.2 and 1.3 both resume (RFC 5246 section 7.3, RFC 8446 section 2.2).
 *
 * A server that demands client certificates resumes no session that was made without one; such servers need a context
 * of their own.
 *
 * Throws ERR_SERVER when it is no TLS server, hands out tickets, has another context, speaks TLS 1.3 only while
 * `readsClientHello` is false, has a `resumeSession` listener already, or accepts connections in a way that cannot be
 * joined; ERR_CONTEXT when the context has more than 32 bytes; and ERR_USAGE when an option is unknown or no such value,
 * or `hooks` are none.
 *
 * ```ts
 * const secureOptions = constants.SSL_OP_NO_TICKET
 * const server = createServer({ key, cert, secureOptions, sessionIdContext: 'shop.example' }, onRequest)
 * const binding = attachSessionCache(server, node.hooks('ssl'), { context: 'shop.example' })
 * setInterval(() => console.log(binding.stats.diagnosis), 60_000)
 * ```
 */
export function attachSessionCache(
  server: Server,
  hooks: SessionHooks,
  options: AttachOptions,
): SessionCacheBinding {
  checkIsServer(server)
  const context = checkAttachOptions(hooks, options)
  checkServer(server, context, options.readsClientHello ?? true)
  const binding = new Binding(server, hooks, context, options)
  binding.attach()
  return binding
}

/** The session that a client offers to resume. */
interface Offer {
  readonly id: Buffer
  readonly isTls13: boolean
  /** Name that the client sent as SNI, '' for none; undefined when no ClientHello is read. */
  readonly serverName: string | undefined
}

/** What is kept of the session that a connection was given; its lifetime ends at `endsAtMs` of the monotonic clock. */
interface Given {
  readonly endsAtMs: number
  readonly isRenewable: boolean
}

/** The object that Node.js keeps for a TLS connection (TLSWrap). It is internal, so every method may be missing. */
interface TlsHandle {
  readonly loadSession?: (session: Uint8Array) => void
  readonly isSessionReused?: () => boolean
}

class Binding implements SessionCacheBinding {
  readonly stats = createSessionCacheStats()
  readonly #server: Server
  readonly #hooks: SessionHooks
  readonly #context: Buffer
  readonly #deadlineMs: number
  readonly #clock: Clock
  readonly #logger: Logger | undefined
  readonly #failures: LogLimiter
  readonly #peek: HelloPeek | undefined
  /** Functions that end the waits for the cache that are going on now. */
  readonly #waits = new Set<() => void>()
  readonly #given = new WeakMap<PeekedConnection, Given>()
  /** Functions that undo what `attach` did besides adding listeners of events. */
  readonly #undo: (() => void)[] = []
  /** Whether this release of Node.js binds contexts to server names; undefined until the server has made a session. */
  #isNameBound: boolean | undefined

  constructor(server: Server, hooks: SessionHooks, context: Buffer, options: AttachOptions) {
    this.#server = server
    this.#hooks = hooks
    this.#context = context
    this.#deadlineMs = options.deadlineMs ?? DEFAULT_DEADLINE_MS
    this.#clock = options.clock ?? systemClock
    this.#logger = options.logger
    const { logger = silentLogger } = options
    this.#failures = new LogLimiter({ clock: this.#clock, logger })
    const isPeeking = options.readsClientHello ?? true
    this.#peek = isPeeking ? new HelloPeek(server, this.#clock) : undefined
  }

  attach(): void {
    const server = this.#server
    this.#peek?.attach()
    server.on('resumeSession', this.#onResumeSession)
    server.on('newSession', this.#onNewSession)
    server.on('secureConnection', this.#onSecureConnection)
    const report = (problem: string) => this.#reportProblem(problem)
    this.#undo.push(keepSetup(server, this.#context, report))
    this.#undo.push(watchSiblings(server, this.#context, () => report(UNJOINED_SIBLING)))
  }

  detach(): void {
    this.#peek?.detach()
    this.#server.off('resumeSession', this.#onResumeSession)
    this.#server.off('newSession', this.#onNewSession)
    this.#server.off('secureConnection', this.#onSecureConnection)
    for (const undo of this.#undo.splice(0)) undo()
    for (const end of this.#waits) end()
  }

  readonly #onResumeSession = (
    sessionId: Buffer,
    callback: (error: Error | null, session: Buffer | null) => void,
  ) => {
    const connection = this.#peek?.current
    const offer = this.#offerOf(connection, sessionId)
    if (offer === undefined) {
      callback(null, null)
      return
    }
    const { id, serverName } = offer
    const handle: TlsHandle = executionAsyncResource()
    this.stats.offered += 1
    const ask = () => this.#hooks.get(this.#context, id, serverName)
    this.#call(ask, id, (found) => {
      if (found === undefined || !this.#isUsable(offer, found)) {
        callback(null, null)
        return
      }
      const { session } = found
      this.stats.found += 1
      if (connection !== undefined) this.#given.set(connection, this.#toGiven(found))
      callback(null, session)
      if (offer.isTls13) this.#giveAgain(handle, session)
    })
  }

  readonly #onNewSession = (id: Buffer, session: Buffer, callback: () => void) => {
    try {
      this.#store(id, session)
    } finally {
      // In the same turn: if it is called later, Node.js 20 loses what the application writes in 'secureConnection'.
      callback()
    }
  }

  #store(id: Buffer, session: Buffer): void {
    const connection = this.#peek?.current
    const encoded = tryReadEncodedSession(session)
    const isTls13 = encoded?.protocolVersion === TLS_1_3
    // Without the ClientHello the server name is not known, and the session could be resumed under another name.
    const isFindable = this.#peek === undefined ? !isTls13 : connection?.hello !== undefined
    if (!isFindable) {
      this.stats.skipped += 1
      return
    }
    if (encoded !== undefined) {
      this.#isNameBound = !isSameBytes(encoded.context, this.#context)
    }
    const ttlMs = this.#lifetimeOf(connection)
    const serverName = connection?.hello?.serverName
    const put = () => this.#hooks.put({ context: this.#context, id, session, ttlMs, serverName })
    this.#call(put, id, (result) => {
      if (result === undefined) return
      if (!PUT_RESULTS.includes(result)) this.#fail(id, 'the cache answered a put with no result')
      else if (isRefusal(result)) this.stats.refused[result] += 1
      else this.stats.stored += 1
    })
  }

  readonly #onSecureConnection = (socket: TLSSocket) => {
    this.stats.handshakes += 1
    if (socket.isSessionReused()) this.stats.accepted += 1
  }

  /** Calls the cache, then `proceed` once: with the answer, or with undefined when it failed or was late. */
  #call<T>(ask: () => Awaitable<T>, id: Buffer, proceed: (answer: T | undefined) => void): void {
    let answer: Awaitable<T>
    try {
      answer = ask()
    } catch (error) {
      this.#fail(id, messageOf(error))
      proceed(undefined)
      return
    }
    if (!isPromise(answer)) proceed(answer)
    else this.#wait(answer, id, proceed)
  }

  #wait<T>(answer: Promise<T>, id: Buffer, proceed: (answer: T | undefined) => void): void {
    let timer: Timer | undefined
    let isOver = false
    const end = (value?: T) => {
      if (isOver) return
      isOver = true
      timer?.cancel()
      this.#waits.delete(end)
      proceed(value)
    }
    this.#waits.add(end)
    const giveUp = () => {
      this.stats.late += 1
      end()
    }
    timer = this.#clock.after(this.#deadlineMs, () => {
      // If this process was busy, the answer may have arrived already: one more turn lets it be read first.
      timer = this.#clock.soon(giveUp)
    })
    Promise.resolve(answer).then(end, (error: unknown) => {
      if (!isOver) this.#fail(id, messageOf(error))
      end()
    })
  }

  /** Returns what to look up for a 'resumeSession' event; undefined when there is nothing to find. */
  #offerOf(connection: PeekedConnection | undefined, sessionId: Buffer): Offer | undefined {
    if (this.#peek === undefined) return { id: sessionId, isTls13: false, serverName: undefined }
    const hello = connection?.hello
    if (hello === undefined) return undefined
    const { serverName, pskIdentity } = hello
    if (!hello.offersTls13 || !speaksTls13(this.#server)) {
      return { id: hello.sessionId, isTls13: false, serverName }
    }
    return pskIdentity && { id: pskIdentity, isTls13: true, serverName }
  }

  /**
   * Whether the answer of the cache can be given to TLS. OpenSSL aborts the handshake over a session that does not fit,
   * so such a session is a miss, and so is one whose context has the form of another release of Node.js. Everything is
   * checked, because hooks written in JavaScript may answer anything.
   */
  #isUsable(offer: Offer, found: unknown): found is FoundSession {
    const { session, ttlMs } = (found ?? {}) as Partial<Record<keyof FoundSession, unknown>>
    const encoded = session instanceof Uint8Array ? tryReadEncodedSession(session) : undefined
    if (encoded === undefined || !this.#isSession(encoded, offer)) {
      this.#fail(offer.id, 'the cache gave back another session')
      return false
    }
    if (!Number.isFinite(ttlMs)) {
      this.#fail(offer.id, 'the cache gave back a session without ttlMs, the lifetime it has left')
      return false
    }
    // Over TLS 1.3, Node.js 20 and 22 would report a client as authorized that never showed a certificate.
    if (!encoded.hasPeerCertificate && demandsCertificate(this.#server)) {
      this.#fail(offer.id, WITHOUT_CERTIFICATE)
      return false
    }
    const isNameBound = !isSameBytes(encoded.context, this.#context)
    if (this.#isNameBound !== undefined && this.#isNameBound !== isNameBound) {
      this.stats.otherRelease += 1
      return false
    }
    return true
  }

  #isSession(encoded: EncodedSession, { id, isTls13 }: Offer): boolean {
    return (
      isSameBytes(encoded.id, id) &&
      isContextOf(encoded.context, this.#context, encoded.serverName) &&
      (encoded.protocolVersion === TLS_1_3) === isTls13
    )
  }

  /**
   * Gives TLS the session once more. When the server does not accept the client's first key share, OpenSSL answers with
   * a HelloRetryRequest and needs the session again after the second ClientHello, but Node.js gives it only once.
   * Without such a retry the second copy is not used and is freed with the connection.
   */
  #giveAgain(handle: TlsHandle, session: Buffer): void {
    if (typeof handle.loadSession === 'function') handle.loadSession(session)
    else this.#reportProblem(NO_RETRY)
  }

  #toGiven({ ttlMs, isRenewable = false }: FoundSession): Given {
    return { endsAtMs: this.#clock.monotonicMs() + ttlMs, isRenewable }
  }

  /**
   * Returns the longest lifetime in milliseconds for a session that this handshake makes; undefined where the cache
   * decides. A session made by a resumed handshake lives no longer than the one it came from, so that the cache's
   * `timeout` bounds the time since the last full handshake and the last check of a client's certificate.
   */
  #lifetimeOf(connection: PeekedConnection | undefined): number | undefined {
    const given = connection && this.#given.get(connection)
    if (given === undefined || given.isRenewable) return undefined
    const handle: TlsHandle = executionAsyncResource()
    // When it is not known whether TLS took the session, the shorter lifetime is the safe one.
    const isFull = typeof handle.isSessionReused === 'function' && !handle.isSessionReused()
    return isFull ? undefined : given.endsAtMs - this.#clock.monotonicMs()
  }

  #fail(id: Buffer, reason: string): void {
    this.stats.failed += 1
    this.#failures.warn(() => ({ id: idPrefix(id), reason }), 'the session cache failed')
  }

  /** Reports a problem that ends resumption to the logger, or as a warning of Node.js, unless it was the last one. */
  #reportProblem(problem: string): void {
    if (this.stats.problem === problem) return
    this.stats.problem = problem
    if (this.#logger === undefined) process.emitWarning(problem, 'TlscachedWarning')
    else this.#logger.warn({}, problem)
  }
}

function isPromise<T>(answer: Awaitable<T>): answer is Promise<T> {
  return typeof answer === 'object' && answer !== null && 'then' in answer
}

const UNJOINED_SIBLING =
  'another TLS server of this process accepts connections with the same session ID context and is not joined to the cache: ' +
  'a framework that listens on "localhost" has one server for 127.0.0.1 and one for ::1; give it one address, or join each'
const WITHOUT_CERTIFICATE =
  'the session was made without a client certificate, which this server demands: ' +
  'servers that demand one need a session ID context that servers without that demand do not have'
const NO_RETRY =
  'this release of Node.js does not let a session be given to TLS twice: ' +
  'TLS 1.3 clients whose first key share the server does not take make full handshakes'
