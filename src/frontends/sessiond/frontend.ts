// The sessiond frontend: stunnel's session server over UDP, on one cache. stunnel waits only a few milliseconds, so a
// get is answered in the turn of the event loop in which it came.

import type { Socket } from 'node:dgram'
import { lookup } from 'node:dns/promises'
import { isIP, isIPv6 } from 'node:net'
import { DgramAsPromised, type SocketAsPromised } from 'dgram-as-promised'
import { type HostAddress, literalLookup } from '../../base/address.ts'
import { zeros } from '../../base/counters.ts'
import { codeOf, messageOf } from '../../base/errors.ts'
import { type Clock, type Logger, LogLimiter } from '../../base/world.ts'
import type { ContextlessHooks } from '../../hooks/contextless-hooks.ts'
import { tryReadEncodedSession } from '../../session/encoded-session.ts'
import type { SessionView } from '../../store/session-view.ts'
import { type Frontend, toListenError } from '../../streams/listener.ts'
import { event } from '../counters.ts'

/** Receive buffer of the socket. Requests are few and small, so it loses none while the event loop is busy. */
const RECEIVE_BUFFER_BYTES = 1_048_576
const FIELD = 'frontends.sessiond'

/**
 * What a remove request does. `honour` removes the session on all nodes; stunnel asks for that after a fatal alert, but
 * also when its own small cache overflows. `ignore` keeps sessions until they expire.
 */
export const REMOVE_POLICIES = ['honour', 'ignore'] as const
export type RemovePolicy = (typeof REMOVE_POLICIES)[number]

export const SESSIOND_COUNTERS = {
  gets: event('gets'),
  hits: event('gets that were answered with a session'),
  tooLarge: event('sessions found that are too large for an answer; they are misses to the caller'),
  news: event('requests to store a session'),
  refused: event('requests to store that the cache refused'),
  removes: event('removes'),
  ignoredRemoves: event('removes that the policy `ignore` left undone'),
  malformed: event('datagrams that are not requests'),
  sendErrors: event('answers that the kernel did not take, and other errors of the socket'),
}

export interface SessiondFrontendOptions {
  /** Loopback, unless the operator insists on another address: datagrams are not protected and senders are unknown. */
  readonly address: HostAddress
  readonly hooks: ContextlessHooks
  readonly clock: Clock
  readonly logger: Logger
  readonly removePolicy: RemovePolicy
}

export class SessiondFrontend implements Frontend {
  readonly name = 'sessiond'
  readonly counters = SESSIOND_COUNTERS
  readonly stats = zeros(SESSIOND_COUNTERS)
  readonly #options: SessiondFrontendOptions
  readonly #errorLog: LogLimiter
  readonly #onSent = (error: Error | null) => {
    if (error !== null) this.#countError(error)
  }
  #address: HostAddress
  #socket: SocketAsPromised | undefined

  constructor(options: SessiondFrontendOptions) {
    this.#options = options
    this.#errorLog = new LogLimiter(options)
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

  /** Carries out one datagram. Only a get is answered, to the address that it came from. */
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
      { type: isIPv6(host) ? 'udp6' : 'udp4', lookup: literalLookup },
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
    // A forged datagram must not store arbitrary bytes, so only encoded sessions are accepted.
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
    this.#errorLog.warn(
      () => ({ reason: codeOf(error) ?? messageOf(error) }),
      'sessiond: the network refused a datagram',
    )
  }
}

/** Resolves a host name, to an IPv4 address if it has one, because stunnel speaks nothing else. */
async function literalOf(host: string): Promise<string> {
  return isIP(host) === 0 ? (await lookup(host, { order: 'ipv4first' })).address : host
}

// The datagrams of stunnel's sessiond protocol (stunnel: src/ctx.c, cache_transfer).
//
//   offset  size  field
//        0     1  version: 1
//        1     1  type: 0 new, 1 get, 2 remove; in answers 81 found, 80 not found
//        2     2  lifetime in seconds, big endian; 0 in get and remove
//        4    32  session ID; shorter ones are filled up with zeros
//       36     n  encoded session, 0..512 bytes: only in new and in found

export type SessiondKind = 'new' | 'get' | 'remove'

export interface SessiondRequest {
  readonly kind: SessiondKind
  readonly lifetimeSec: number
  /** 32 bytes; this and `session` are views of the datagram. */
  readonly id: Buffer
  /** Empty except in `new`. */
  readonly session: Buffer
}

export const MAX_SESSION_BYTES = 512

const VERSION = 1
const KINDS: readonly SessiondKind[] = ['new', 'get', 'remove']
const FOUND = 0x81
const NOT_FOUND = 0x80
const LIFETIME_AT = 2
const ID_AT = 4
const HEADER_BYTES = 36

/** Parses a datagram; undefined when it is not a request. */
export function parseRequest(datagram: Buffer): SessiondRequest | undefined {
  const { length } = datagram
  if (length < HEADER_BYTES || length > HEADER_BYTES + MAX_SESSION_BYTES) return undefined
  const kind = KINDS[datagram.readUInt8(1)]
  if (datagram[0] !== VERSION || kind === undefined) return undefined
  const hasSession = length > HEADER_BYTES
  if (hasSession !== (kind === 'new')) return undefined
  return {
    kind,
    lifetimeSec: datagram.readUInt16BE(LIFETIME_AT),
    id: datagram.subarray(ID_AT, HEADER_BYTES),
    session: datagram.subarray(HEADER_BYTES),
  }
}

/** Formats the answer to a get. `session` has at most 512 bytes; undefined means not found. */
export function formatAnswer(id: Buffer, session: SessionView | undefined): Buffer {
  // The memory is not initialised, so every byte of it is written below.
  const answer = Buffer.allocUnsafe(HEADER_BYTES + (session?.length ?? 0))
  answer[0] = VERSION
  answer[1] = session === undefined ? NOT_FOUND : FOUND
  answer.writeUInt16BE(0, LIFETIME_AT)
  id.copy(answer, ID_AT)
  if (session !== undefined) {
    const { bytes, start, length } = session
    bytes.copy(answer, HEADER_BYTES, start, start + length)
  }
  return answer
}
