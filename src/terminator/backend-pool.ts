// The backends of a terminator, used in turn. One that did not answer is tried last, until a client's connection or
// a check succeeds: a connection opened and closed every few seconds.

import { connect as connectSocket, type Socket } from 'node:net'
import { type Address, formatAddress } from '../base/address.ts'
import { type Clock, every, type Timer } from '../base/clock.ts'
import { codeOf } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import { type BackendResult, type BackendStats, createBackendStats } from './stats.ts'

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
