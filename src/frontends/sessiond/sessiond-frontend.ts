// The sessiond frontend: stunnel's session server over UDP, upon one cache. stunnel waits a few
// milliseconds and no longer, so a get is answered in the same turn in which it came.

import type { Socket } from 'node:dgram'
import { lookup } from 'node:dns/promises'
import { isIP, isIPv6 } from 'node:net'
import { DgramAsPromised, type SocketAsPromised } from 'dgram-as-promised'
import type { HostAddress } from '../../base/address.ts'
import type { Clock } from '../../base/clock.ts'
import { codeOf, messageOf } from '../../base/errors.ts'
import { type Logger, LogLimiter } from '../../base/logger.ts'
import type { LocalHooks } from '../../hooks/session-hooks.ts'
import { tryReadEncodedSession } from '../../session/encoded-session.ts'
import type { SessionView } from '../../store/session-view.ts'
import { type Frontend, toListenError } from '../frontend.ts'
import { formatAnswer, MAX_SESSION_BYTES, parseRequest, type SessiondRequest } from './packet.ts'
import { createSessiondStats, type SessiondStats } from './stats.ts'

/** Requests are few and small; this many wait for a busy event loop without loss. */
const RECEIVE_BUFFER_BYTES = 1_048_576
const FIELD = 'frontends.sessiond'

/**
 * `honour` lets a terminator take its session out everywhere, which stunnel does after a fatal alert, but
 * also when its own small cache overflows. `ignore` leaves sessions to their lifetime.
 */
export const REMOVE_POLICIES = ['honour', 'ignore'] as const
export type RemovePolicy = (typeof REMOVE_POLICIES)[number]

export interface SessiondFrontendOptions {
  /** Datagrams are not protected and senders not known: a loopback address, unless the operator insists. */
  readonly address: HostAddress
  readonly hooks: LocalHooks
  readonly clock: Clock
  readonly logger: Logger
  readonly removePolicy: RemovePolicy
}

export class SessiondFrontend implements Frontend {
  readonly name = 'sessiond'
  readonly stats: SessiondStats = createSessiondStats()
  readonly #options: SessiondFrontendOptions
  readonly #errorLog: LogLimiter
  readonly #onSent = (error: Error | null) => {
    if (error !== null) this.#countError(error)
  }
  #address: HostAddress
  #socket: SocketAsPromised | undefined

  constructor(options: SessiondFrontendOptions) {
    this.#options = options
    this.#errorLog = new LogLimiter(options.clock)
    this.#address = options.address
  }

  get address(): HostAddress {
    return this.#address
  }

  async start(): Promise<void> {
    if (this.#socket !== undefined) return
    const { address } = this.#options
    try {
      await this.#open(await literalOf(address.host), address.port)
    } catch (error) {
      await this.stop()
      throw toListenError(error, address, FIELD)
    }
  }

  async stop(): Promise<void> {
    const socket = this.#socket
    this.#socket = undefined
    await socket?.close()
  }

  /** Carries out one datagram; only a get is answered, to where it came from. */
  receive(datagram: Buffer, port: number, host: string): void {
    const request = parseRequest(datagram)
    if (request === undefined) {
      this.stats.malformed += 1
      return
    }
    switch (request.kind) {
      case 'get':
        this.#send(formatAnswer(request.id, this.#get(request.id)), port, host)
        break
      case 'new':
        this.#put(request)
        break
      case 'remove':
        this.#remove(request.id)
        break
    }
  }

  async #open(host: string, port: number): Promise<void> {
    const socket = DgramAsPromised.createSocket(
      { type: isIPv6(host) ? 'udp6' : 'udp4', lookup: answerAtOnce },
      (datagram, from) => this.receive(datagram, from.port, from.address),
    )
    this.#socket = socket
    socket.socket.on('error', (error) => this.#countError(error))
    await socket.bind({ address: host, port, exclusive: true })
    socket.setRecvBufferSize(RECEIVE_BUFFER_BYTES)
    this.#address = { host: this.#options.address.host, port: socket.address().port }
  }

  #get(id: Buffer): SessionView | undefined {
    this.stats.gets += 1
    const found = this.#options.hooks.getAny(id)
    if (found === undefined) return undefined
    if (found.length > MAX_SESSION_BYTES) {
      this.stats.tooLarge += 1
      return undefined
    }
    this.stats.hits += 1
    return found
  }

  #put({ id, session, lifetimeSec }: SessiondRequest): void {
    this.stats.news += 1
    // Whoever can forge a datagram shall not be able to store just anything.
    const isSession = tryReadEncodedSession(session) !== undefined
    const { hooks } = this.#options
    const result = isSession
      ? hooks.putOwn(id, session, lifetimeSec * 1000)
      : hooks.refuse('context', { id, session })
    if (result !== 'stored' && result !== 'replaced') this.stats.refused += 1
  }

  #remove(id: Buffer): void {
    this.stats.removes += 1
    if (this.#options.removePolicy === 'honour') this.#options.hooks.removeAny(id)
    else this.stats.ignoredRemoves += 1
  }

  #send(answer: Buffer, port: number, host: string): void {
    const socket: Socket | undefined = this.#socket?.socket
    try {
      socket?.send(answer, port, host, this.#onSent)
    } catch (error) {
      this.#countError(error)
    }
  }

  #countError(error: unknown): void {
    this.stats.sendErrors += 1
    this.#errorLog.pass((heldBack) =>
      this.#options.logger.warn(
        { reason: codeOf(error) ?? messageOf(error), heldBack },
        'sessiond: the network refused a datagram',
      ),
    )
  }
}

/** Of a name's addresses one of IPv4, where there is any: stunnel speaks nothing else. */
async function literalOf(host: string): Promise<string> {
  return isIP(host) === 0 ? (await lookup(host, { order: 'ipv4first' })).address : host
}

/** Every address here is literal: else each answer would wait for the next turn. */
function answerAtOnce(
  host: string,
  _options: unknown,
  answer: (error: null, host: string, family: number) => void,
): void {
  answer(null, host, isIP(host))
}
