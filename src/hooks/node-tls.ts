// Joins a Node.js TLS server (tls, https, fastify's) to a session cache.
//
// Node asks with 'resumeSession' and tells with 'newSession', and holds the handshake until its callback
// is called: so that is called exactly once, at the deadline at the latest, whatever the cache does.
// TLS 1.2 only: a TLS 1.3 handshake asks for a random number instead of the session, so none is stored.
// Node tells no server name in either event, and its sessions hold none.

import { constants } from 'node:crypto'
import type { Server, TLSSocket } from 'node:tls'
import { idPrefix } from '../base/bytes.ts'
import { type Clock, systemClock, type Timer } from '../base/clock.ts'
import { messageOf, TlscachedError } from '../base/errors.ts'
import { type Logger, LogLimiter, silentLogger } from '../base/logger.ts'
import { isSameBytes, toContext } from '../session/context.ts'
import { TLS_1_3, tryReadEncodedSession } from '../session/encoded-session.ts'
import type { Awaitable, SessionHooks } from './hooks.ts'
import { createSessionCacheStats, isRefused, type SessionCacheStats } from './stats.ts'

const DEFAULT_DEADLINE_MS = 50

export interface AttachOptions {
  /** The session ID context: the same as the server's `sessionIdContext`, 1..32 bytes. */
  readonly context: string | Uint8Array
  /** Longest wait for the cache in one handshake step. */
  readonly deadlineMs?: number
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
  checkServer(server, context)
  const binding = new Binding(server, hooks, context, options)
  binding.attach()
  return binding
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
  }

  attach(): void {
    this.#server.on('resumeSession', this.#onResumeSession)
    this.#server.on('newSession', this.#onNewSession)
    this.#server.on('secureConnection', this.#onSecureConnection)
  }

  detach(): void {
    this.#server.off('resumeSession', this.#onResumeSession)
    this.#server.off('newSession', this.#onNewSession)
    this.#server.off('secureConnection', this.#onSecureConnection)
    for (const end of this.#waits) end()
  }

  readonly #onResumeSession = (
    id: Buffer,
    callback: (error: Error | null, session: Buffer | null) => void,
  ) => {
    this.stats.offered += 1
    const ask = () => this.#hooks.get(this.#context, id)
    this.#call(ask, id, (found) => {
      const session =
        found !== undefined && this.#isUsable(id, found.session) ? found.session : null
      if (session !== null) this.stats.found += 1
      else if (found !== undefined) this.#fail(id, 'the cache gave back another session')
      callback(null, session)
    })
  }

  readonly #onNewSession = (id: Buffer, session: Buffer, callback: () => void) => {
    const encoded = tryReadEncodedSession(session)
    if (encoded?.protocolVersion === TLS_1_3) {
      this.stats.skipped += 1
      callback()
      return
    }
    this.#call(
      () => this.#hooks.put(this.#context, id, session),
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
    timer = this.#clock.after(this.#deadlineMs, () => {
      this.stats.late += 1
      end()
    })
    Promise.resolve(answer).then(end, (error: unknown) => {
      if (!isOver) this.#fail(id, messageOf(error))
      end()
    })
  }

  /** OpenSSL would break off a handshake over a session with another ID, where a miss costs nothing. */
  #isUsable(id: Buffer, session: unknown): boolean {
    if (!(session instanceof Uint8Array)) return false
    const encoded = tryReadEncodedSession(session)
    return (
      encoded !== undefined &&
      isSameBytes(encoded.id, id) &&
      isSameBytes(encoded.context, this.#context)
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
function checkServer(server: Server, context: Buffer): void {
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
  if (readOption(server, 'minVersion') === 'TLSv1.3') {
    throw new TlscachedError(
      'ERR_SERVER',
      'the TLS server speaks TLS 1.3 only, which never finds a session here: ' +
        'set its minVersion to TLSv1.2',
    )
  }
  if (server.listenerCount('resumeSession') > 0) {
    throw new TlscachedError(
      'ERR_SERVER',
      "the TLS server has a 'resumeSession' listener already: two answers would break the connection",
    )
  }
}

/** Node keeps the options it was created with on the server, under their own names. */
function readOption(server: Server, name: string): unknown {
  return Reflect.get(server, name)
}
