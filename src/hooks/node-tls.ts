// Joins a Node.js TLS server (tls, https, http2, fastify's) to a session cache.
//
// Node asks with 'resumeSession' and tells with 'newSession', and holds the handshake until its callback
// is called: so that is called exactly once, at the deadline at the latest, whatever the cache does.
//
// For TLS 1.3 Node asks for a random number, and in no version it tells the server name. Both are in the
// ClientHello, which hello-peek.ts reads. OpenSSL takes what Node answers for the first pre-shared key that
// the client names, whichever that is: so that one and no other is looked up.

import { constants } from 'node:crypto'
import { DEFAULT_MAX_VERSION, type Server, type TLSSocket } from 'node:tls'
import { idPrefix } from '../base/bytes.ts'
import { type Clock, systemClock, type Timer } from '../base/clock.ts'
import { messageOf, TlscachedError } from '../base/errors.ts'
import { type Logger, LogLimiter, silentLogger } from '../base/logger.ts'
import { isSameBytes, toContext } from '../session/context.ts'
import { TLS_1_3, tryReadEncodedSession } from '../session/encoded-session.ts'
import { HelloPeek } from './hello-peek.ts'
import type { Awaitable, SessionHooks } from './hooks.ts'
import { createSessionCacheStats, isRefused, type SessionCacheStats } from './stats.ts'

const DEFAULT_DEADLINE_MS = 50

export interface AttachOptions {
  /** The session ID context: the same as the server's `sessionIdContext`, 1..32 bytes. */
  readonly context: string | Uint8Array
  /** Longest wait for the cache in one handshake step. */
  readonly deadlineMs?: number
  /**
   * Whether ClientHellos are read first; on by default. Without it TLS 1.3 sessions are not stored, as they
   * could never be found again, and server names are not checked. The same on all servers that share.
   */
  readonly readsClientHello?: boolean
  readonly clock?: Clock
  readonly logger?: Logger
}

export interface SessionCacheBinding {
  readonly stats: SessionCacheStats
  /** Leaves the server; handshakes that wait for the cache go on without. Idempotent. */
  detach(): void
}

/**
 * Stores the server's sessions and resumes what any server put there under the same context.
 * Throws ERR_SERVER when the server is set up so that this could not work.
 */
export function attachSessionCache(
  server: Server,
  hooks: SessionHooks,
  options: AttachOptions,
): SessionCacheBinding {
  const context = toContext(options.context)
  checkServer(server, context, options.readsClientHello ?? true)
  const binding = new Binding(server, hooks, context, options)
  binding.attach()
  return binding
}

interface Offer {
  readonly id: Buffer
  readonly isTls13: boolean
  /** undefined: not known. */
  readonly serverName: string | undefined
}

class Binding implements SessionCacheBinding {
  readonly stats = createSessionCacheStats()
  readonly #server: Server
  readonly #hooks: SessionHooks
  readonly #context: Buffer
  readonly #deadlineMs: number
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #failures: LogLimiter
  readonly #peek: HelloPeek | undefined
  /** Ends each wait for the cache that goes on now. */
  readonly #waits = new Set<() => void>()

  constructor(server: Server, hooks: SessionHooks, context: Buffer, options: AttachOptions) {
    this.#server = server
    this.#hooks = hooks
    this.#context = context
    this.#deadlineMs = options.deadlineMs ?? DEFAULT_DEADLINE_MS
    this.#clock = options.clock ?? systemClock
    this.#logger = options.logger ?? silentLogger
    this.#failures = new LogLimiter(this.#clock)
    const isPeeking = options.readsClientHello ?? true
    this.#peek = isPeeking ? new HelloPeek(server, this.#clock) : undefined
  }

  attach(): void {
    this.#peek?.attach()
    this.#server.on('resumeSession', this.#onResumeSession)
    this.#server.on('newSession', this.#onNewSession)
    this.#server.on('secureConnection', this.#onSecureConnection)
  }

  detach(): void {
    this.#peek?.detach()
    this.#server.off('resumeSession', this.#onResumeSession)
    this.#server.off('newSession', this.#onNewSession)
    this.#server.off('secureConnection', this.#onSecureConnection)
    for (const end of this.#waits) end()
  }

  readonly #onResumeSession = (
    sessionId: Buffer,
    callback: (error: Error | null, session: Buffer | null) => void,
  ) => {
    const offer = this.#offerOf(sessionId)
    if (offer === undefined) {
      callback(null, null)
      return
    }
    const { id, serverName } = offer
    this.stats.offered += 1
    const ask = () => this.#hooks.get(this.#context, id, serverName)
    this.#call(ask, id, (found) => {
      const session =
        found !== undefined && this.#isUsable(offer, found.session) ? found.session : null
      if (session !== null) this.stats.found += 1
      else if (found !== undefined) this.#fail(id, 'the cache gave back another session')
      callback(null, session)
    })
  }

  readonly #onNewSession = (id: Buffer, session: Buffer, callback: () => void) => {
    const hello = this.#peek?.current
    const isTls13 = tryReadEncodedSession(session)?.protocolVersion === TLS_1_3
    // Under a server name that nobody knows it could be resumed under another one.
    const isFindable = this.#peek === undefined ? !isTls13 : hello !== undefined
    if (!isFindable) {
      this.stats.skipped += 1
      callback()
      return
    }
    this.#call(
      () => this.#hooks.put(this.#context, id, session, undefined, hello?.serverName),
      id,
      (result) => {
        if (result !== undefined && isRefused(result)) this.stats.refused[result] += 1
        else if (result !== undefined) this.stats.stored += 1
        callback()
      },
    )
  }

  readonly #onSecureConnection = (socket: TLSSocket) => {
    if (socket.isSessionReused()) this.stats.accepted += 1
  }

  /** Calls `proceed` once: with the answer, or with undefined when there is none or not in time. */
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
      // When this process was busy itself, the answer may be here already: what has come is read first.
      timer = this.#clock.soon(giveUp)
    })
    Promise.resolve(answer).then(end, (error: unknown) => {
      if (!isOver) this.#fail(id, messageOf(error))
      end()
    })
  }

  /** What to look up for the connection that Node asks about; undefined when there is nothing to find. */
  #offerOf(sessionId: Buffer): Offer | undefined {
    if (this.#peek === undefined) return { id: sessionId, isTls13: false, serverName: undefined }
    const hello = this.#peek.current
    if (hello === undefined) return undefined
    const { serverName, pskIdentity } = hello
    if (!hello.offersTls13 || !speaksTls13(this.#server)) {
      return { id: hello.sessionId, isTls13: false, serverName }
    }
    return pskIdentity && { id: pskIdentity, isTls13: true, serverName }
  }

  /** OpenSSL would break off a handshake over another session, where a miss costs nothing. */
  #isUsable({ id, isTls13 }: Offer, session: unknown): boolean {
    if (!(session instanceof Uint8Array)) return false
    const encoded = tryReadEncodedSession(session)
    return (
      encoded !== undefined &&
      isSameBytes(encoded.id, id) &&
      isSameBytes(encoded.context, this.#context) &&
      (encoded.protocolVersion === TLS_1_3) === isTls13
    )
  }

  #fail(id: Buffer, reason: string): void {
    this.stats.failed += 1
    this.#failures.pass((heldBack) => {
      this.#logger.warn({ id: idPrefix(id), reason, heldBack }, 'the session cache failed')
    })
  }
}

function isPromise<T>(answer: Awaitable<T>): answer is Promise<T> {
  return typeof answer === 'object' && answer !== null && 'then' in answer
}

/** Refuses a server with which nothing would ever be stored or found, or whose handshakes would break. */
function checkServer(server: Server, context: Buffer, readsClientHello: boolean): void {
  const secureOptions = readOption(server, 'secureOptions')
  const hasNoTicket =
    typeof secureOptions === 'number' && (secureOptions & constants.SSL_OP_NO_TICKET) !== 0
  if (!hasNoTicket) {
    throw new TlscachedError(
      'ERR_SERVER',
      'the TLS server hands out session tickets and never asks a cache: ' +
        'set its secureOptions to crypto.constants.SSL_OP_NO_TICKET',
    )
  }
  const own = readOption(server, 'sessionIdContext')
  if (typeof own !== 'string' || !isSameBytes(Buffer.from(own, 'utf8'), context)) {
    throw new TlscachedError(
      'ERR_SERVER',
      'the TLS server has another session ID context: ' +
        'set its sessionIdContext to the context given here, on every server that shares sessions',
    )
  }
  if (readOption(server, 'minVersion') === 'TLSv1.3' && !readsClientHello) {
    throw new TlscachedError(
      'ERR_SERVER',
      'the TLS server speaks TLS 1.3 only, which never finds a session without the ClientHello: ' +
        'set readsClientHello, or its minVersion to TLSv1.2',
    )
  }
  if (server.listenerCount('resumeSession') > 0) {
    throw new TlscachedError(
      'ERR_SERVER',
      "the TLS server has a 'resumeSession' listener already: two answers would break the connection",
    )
  }
}

/** Whether a client that speaks TLS 1.3 gets it. */
function speaksTls13(server: Server): boolean {
  const secureOptions = readOption(server, 'secureOptions')
  const isSwitchedOff =
    typeof secureOptions === 'number' && (secureOptions & constants.SSL_OP_NO_TLSv1_3) !== 0
  const secureProtocol = readOption(server, 'secureProtocol')
  const isOneVersion = typeof secureProtocol === 'string' && /^TLSv1/.test(secureProtocol)
  const maxVersion = readOption(server, 'maxVersion') ?? DEFAULT_MAX_VERSION
  return !isSwitchedOff && !isOneVersion && maxVersion === 'TLSv1.3'
}

/** Node keeps the options it was created with on the server, under their own names. */
function readOption(server: Server, name: string): unknown {
  return Reflect.get(server, name)
}
