// Relays bytes between TLS clients and backends, to which it speaks plain TCP: each direction ends by itself, a
// slow reader throttles the other side, and an idle connection is closed.

import { connect as connectSocket, type Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { type Address, formatAddress } from '../base/address.ts'
import { codeOf } from '../base/errors.ts'
import { type Clock, every, type Logger, type Timer } from '../base/world.ts'
import { type ProxiedConnection, type ProxyVersion, proxyHeader } from './proxy-protocol.ts'
import { type BackendResult, type BackendStats, createBackendStats } from './stats.ts'
import type { ClientOrigin } from './tls-front.ts'

export interface RelayOptions {
  readonly backends: BackendPool
  /** Longest time without a byte in either direction. */
  readonly idleTimeoutMs: number
  /** Version of the PROXY header that backends get; without it a backend sees the terminator as its client. */
  readonly proxyProtocol?: ProxyVersion
  readonly clock: Clock
}

/** Returns a function that connects a client, after its handshake, with a backend and relays their bytes. */
export function createRelay(
  options: RelayOptions,
): (client: TLSSocket, origin: ClientOrigin) => void {
  const { backends, proxyProtocol } = options
  return (client, origin) => {
    // A client that disconnects is nothing to report, but an 'error' event without a listener would end the
    // process.
    client.on('error', () => client.destroy())
    const header = proxyProtocol && headerOf(proxyProtocol, client, origin)
    const attempt = backends.connect((backend) => {
      client.off('close', giveUp)
      if (backend === undefined) {
        client.destroy()
        return
      }
      if (header !== undefined) backend.write(header)
      backend.on('error', () => backend.destroy())
      passOn(client, backend)
      passOn(backend, client)
      breakOffWhenIdle(options, client, backend)
    })
    const giveUp = () => attempt.cancel()
    client.once('close', giveUp)
  }
}

/**
 * Passes on the bytes of one direction. Not with stream.pipeline: two of them on the same sockets make Node warn of
 * a listener leak.
 */
function passOn(from: Socket, to: Socket): void {
  from.pipe(to)
  // A regular end is passed on by `pipe`. Without one, when `from` was cut off, `to` would stay open.
  from.once('close', () => {
    if (!from.readableEnded || !from.writableFinished) to.destroy()
  })
}

interface Moving {
  on(event: 'data' | 'close', listener: () => void): unknown
  destroy(): unknown
}

function breakOffWhenIdle({ clock, idleTimeoutMs }: RelayOptions, ...ends: Moving[]): void {
  let lastMs = clock.monotonicMs()
  const look = () => {
    const leftMs = lastMs + idleTimeoutMs - clock.monotonicMs()
    if (leftMs > 0) timer = clock.after(leftMs, look)
    else for (const end of ends) end.destroy()
  }
  let timer = clock.after(idleTimeoutMs, look)
  let open = ends.length
  for (const end of ends) {
    end.on('data', () => {
      lastMs = clock.monotonicMs()
    })
    end.on('close', () => {
      open -= 1
      if (open === 0) timer.cancel()
    })
  }
}

function headerOf(version: ProxyVersion, client: TLSSocket, origin: ClientOrigin): Buffer {
  const subject = client.authorized ? client.getPeerCertificate().subject : undefined
  const connection: ProxiedConnection = {
    ...origin.endpoints,
    serverName: origin.serverName,
    tlsVersion: client.getProtocol() ?? '',
    cipher: client.getCipher().name,
    applicationProtocol: nameOf(client.alpnProtocol),
    hasClientCertificate: client.authorized,
    clientCommonName: nameOf(subject?.CN),
  }
  return proxyHeader(version, connection)
}

/** Returns the name, or '' for the false, null or undefined that Node has in its place. */
function nameOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

// The backends of a terminator, used in turn. One that did not answer is tried last, until a client's connection or
// a check succeeds: a connection opened and closed every few seconds.

export interface BackendPoolOptions {
  readonly addresses: readonly Address[]
  readonly connectTimeoutMs: number
  readonly checkPeriodMs: number
  /** Opens a connection; by default over TCP or a unix socket. */
  readonly connect?: (address: Address) => Socket
  readonly clock: Clock
  readonly logger: Logger
}

interface Backend {
  readonly name: string
  readonly address: Address
  readonly stats: BackendStats
  /** Whether a check of this backend is in progress. */
  isLookedAt: boolean
}

/** A connection that is being opened; `cancel` gives it up, for example when the client is gone. */
export interface Attempt {
  cancel(): void
}

export class BackendPool {
  /** Counters of each backend, by its address. */
  readonly stats: Readonly<Record<string, BackendStats>>
  readonly #options: BackendPoolOptions
  readonly #backends: readonly Backend[]
  readonly #checks = new Set<Attempt>()
  #next = 0
  #timer: Timer | undefined

  constructor(options: BackendPoolOptions) {
    this.#options = options
    const names = new Map(options.addresses.map((address) => [formatAddress(address), address]))
    this.#backends = [...names].map(([name, address]) => {
      return { name, address, stats: createBackendStats(), isLookedAt: false }
    })
    this.stats = Object.fromEntries(this.#backends.map(({ name, stats }) => [name, stats]))
  }

  /** Checks every backend at once and then every `checkPeriodMs`. Idempotent, like `stop`. */
  start(): void {
    if (this.#timer !== undefined) return
    const { clock, checkPeriodMs } = this.#options
    this.#timer = every(clock, checkPeriodMs, () => this.#checkAll())
    this.#checkAll()
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    for (const check of this.#checks) check.cancel()
  }

  /**
   * Connects to the backend whose turn it is, or to the next that answers; `done` gets undefined when none does.
   * Backends that did not answer last time are tried when all others have failed.
   */
  connect(done: (socket: Socket | undefined) => void): Attempt {
    const { length } = this.#backends
    const first = this.#next
    this.#next = (first + 1) % length
    const inTurn = this.#backends.map((_, index) => this.#backends[(first + index) % length])
    const known = inTurn.filter((backend) => backend !== undefined)
    const candidates = [
      ...known.filter(({ stats }) => stats.isUp),
      ...known.filter(({ stats }) => !stats.isUp),
    ]
    let current: Attempt | undefined
    const tryNext = () => {
      const backend = candidates.shift()
      if (backend === undefined) {
        done(undefined)
        return
      }
      current = this.#open(backend, (result, socket) => {
        backend.stats.results[result] += 1
        if (socket === undefined) tryNext()
        else done(socket)
      })
    }
    tryNext()
    return { cancel: () => current?.cancel() }
  }

  #checkAll(): void {
    for (const backend of this.#backends) {
      if (backend.isLookedAt) continue
      backend.isLookedAt = true
      const check = this.#open(backend, (_result, socket) => {
        socket?.destroy()
        forget()
      })
      const forget = () => {
        backend.isLookedAt = false
        this.#checks.delete(attempt)
      }
      const attempt: Attempt = {
        cancel() {
          check.cancel()
          forget()
        },
      }
      this.#checks.add(attempt)
    }
  }

  /** Opens one connection. `done` is called once with the result, or never when the attempt is cancelled first. */
  #open(backend: Backend, done: (result: BackendResult, socket?: Socket) => void): Attempt {
    const { clock, connectTimeoutMs, connect = connectTo } = this.#options
    const socket = connect(backend.address)
    const settle = () => {
      timer.cancel()
      socket.off('connect', onConnect)
      socket.off('error', onError)
    }
    const fail = (result: BackendResult, reason: string) => {
      settle()
      // A later error is of no interest, but an 'error' event without a listener would end the process.
      socket.on('error', () => {})
      socket.destroy()
      this.#setUp(backend, false, reason)
      done(result)
    }
    const onConnect = () => {
      settle()
      this.#setUp(backend, true, '')
      done('connected', socket)
    }
    const onError = (error: Error) => {
      const code = codeOf(error) ?? error.message
      fail(REFUSALS.has(code) ? 'refused' : 'failed', code)
    }
    const timer = clock.after(connectTimeoutMs, () => fail('timeout', 'no answer in time'))
    socket.on('connect', onConnect)
    socket.on('error', onError)
    return {
      cancel() {
        settle()
        socket.on('error', () => {})
        socket.destroy()
      },
    }
  }

  #setUp({ name, stats }: Backend, isUp: boolean, reason: string): void {
    if (stats.isUp === isUp) return
    stats.isUp = isUp
    if (isUp) this.#options.logger.info({ backend: name }, 'the backend answers again')
    else this.#options.logger.warn({ backend: name, reason }, 'the backend does not answer')
  }
}

/**
 * Error codes that mean that nothing listens there: a closed port, a socket file without a process, no socket file.
 */
const REFUSALS = new Set(['ECONNREFUSED', 'ENOENT'])

function connectTo(address: Address): Socket {
  return connectSocket({ ...address, allowHalfOpen: true, noDelay: true })
}
