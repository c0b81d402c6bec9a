// The hooks on one cache of a node in another process, over its rpc frontend. A terminator never waits for a node that
// is away: until the node is back, handshakes are full ones.

import { connect as connectSocket } from 'node:net'
import type { Duplex } from 'node:stream'
import { type Address, formatAddress, isLoopback, parseAddress } from '../base/address.ts'
import { by, type CountsOf, one, zeros } from '../base/counters.ts'
import { ERROR_CODES, type ErrorCode, TlscachedError } from '../base/errors.ts'
import { checkDeadline, checkOptions, usageError } from '../base/options.ts'
import {
  type Clock,
  type Logger,
  LogLimiter,
  type RandomSource,
  silentLogger,
  systemClock,
  systemRandom,
} from '../base/world.ts'
import { checkContext } from '../session/encoded-session.ts'
import { CACHE_NAME_PATTERN, MAX_TIMEOUT_MS } from '../store/limits.ts'
import type { PutResult } from '../store/stats.ts'
import {
  type HooksCall,
  type HooksError,
  isIdLength,
  isServerName,
  isSessionLength,
} from '../wire/hooks-message.ts'
import type { FoundSession, PutRequest, SessionHooks } from './hooks.ts'
import { type Outcome, RemoteLink } from './remote-link.ts'

const DEFAULT_DEADLINE_MS = 50
const CALLER = 'connectHooks'
const OPEN_TIMEOUT_MS = 1000

/** How hooks reach the cache of a node in another process. An unknown option is the error ERR_USAGE. */
export interface ConnectOptions {
  /** Name of a cache on the node. */
  readonly cache: string
  /**
   * Longest wait for an answer in milliseconds, above 0 and at most 60,000; default 50. A get without an answer is a
   * miss.
   */
  readonly deadlineMs?: number
  /** Lets sessions cross the network in clear to an address that is not loopback; default false. */
  readonly insecure?: boolean
  /** Receives lost connections and calls that the node could not carry out; default: nothing is logged. */
  readonly logger?: Logger
  /** Time, injected by tests; default: the system's. */
  readonly clock?: Clock
  /** Randomness, injected by tests; default: the system's. */
  readonly random?: RandomSource
  /** Makes the connection, for tests; default: over TCP or a unix socket. */
  readonly connect?: (address: Address) => Duplex
  /** ID of the running process, replaced by tests; a forked process makes a connection of its own. */
  readonly pid?: () => number
}

const OPTION_NAMES: ReadonlySet<string> = new Set<keyof ConnectOptions>([
  'cache',
  'deadlineMs',
  'insecure',
  'logger',
  'clock',
  'random',
  'connect',
  'pid',
])

/**
 * Returns hooks on a cache of a node in another process, whose `frontends.rpc` listens at `address`: `unix:/path`,
 * `host:port` or `[v6]:port`. It returns at once: `open` or the first call makes the connection, in the process that
 * calls it, and it is made again whenever it is lost. The protocol is in proto/PROTOCOL.md, section 8; it has no
 * encryption.
 *
 * Throws ERR_ADDRESS when `address` is not an address or has port 0, ERR_INSECURE when it is not on loopback and
 * `insecure` is not set, and ERR_USAGE when an option is unknown or out of its bounds.
 *
 * ```ts
 * const hooks = connectHooks('unix:/run/tlscached/rpc.sock', { cache: 'ssl', logger: console })
 * attachSessionCache(server, hooks, { context: 'shop.example' })
 * await hooks.open()
 * ```
 */
export function connectHooks(address: string, options: ConnectOptions): RemoteHooks {
  checkConnectOptions(options)
  return new RemoteHooks(toNodeAddress(String(address), options.insecure ?? false), options)
}

/**
 * Hooks on a cache of a node in another process, made by `connectHooks`. A get without an answer is a miss and does not
 * reject. A put or remove without one rejects: ERR_UNREACHABLE when the node is away or 4,096 calls or 4 MiB of them
 * wait already, ERR_DEADLINE when the answer is late, ERR_CACHE when the node has no such cache, ERR_INTERNAL when it
 * failed. `attachSessionCache` counts these, and the handshake goes on. A context of more than 32 bytes rejects with
 * ERR_CONTEXT.
 */
export class RemoteHooks implements SessionHooks {
  /** Calls by result, and connections, since these hooks were made. */
  readonly stats: RemoteStats = zeros(REMOTE_COUNTERS)
  readonly #cache: string
  readonly #deadlineMs: number
  readonly #link: RemoteLink
  readonly #refusals: LogLimiter

  constructor(address: Address, options: ConnectOptions) {
    const { cache, deadlineMs = DEFAULT_DEADLINE_MS, clock = systemClock } = options
    const { connect = connectTo, random = systemRandom, logger = silentLogger } = options
    this.#cache = cache
    this.#deadlineMs = deadlineMs
    this.#refusals = new LogLimiter({ clock, logger })
    this.#link = new RemoteLink({
      clock,
      logger,
      random,
      connect: () => connect(address),
      pid: options.pid ?? (() => process.pid),
      stats: this.stats,
      said: {
        connected: 'connected to the session cache',
        lost: 'the session cache is away: every handshake is a full one',
      },
    })
  }

  /** Whether there is a connection on which the node answered; false before the first call or `open`. */
  get isConnected(): boolean {
    return this.#link.isConnected
  }

  /**
   * Makes the connection now, so that the first handshake of this process need not wait for it. Resolves with whether
   * the node answered within `timeoutMs` milliseconds; when nothing listens at the address, with false at once. Never
   * rejects.
   */
  async open(timeoutMs = OPEN_TIMEOUT_MS): Promise<boolean> {
    const outcome = await this.#call({ kind: 'ping' }, timeoutMs)
    return typeof outcome !== 'string'
  }

  async get(
    context: Uint8Array,
    id: Uint8Array,
    serverName?: string,
  ): Promise<FoundSession | undefined> {
    checkContext(context)
    const { gets } = this.stats
    // An ID or server name that no request can hold was never stored.
    if (!isIdLength(id.length) || !isServerName(serverName)) {
      gets.miss += 1
      return undefined
    }
    const outcome = await this.#call({ kind: 'get', cache: this.#cache, context, id, serverName })
    if (typeof outcome !== 'string' && outcome.kind === 'found') {
      gets.hit += 1
      const { ttlMs, isRenewable } = outcome
      const session = Buffer.from(outcome.session)
      return { session, ttlMs, ...(isRenewable === true && { isRenewable }) }
    }
    if (typeof outcome !== 'string' && outcome.kind === 'miss') gets.miss += 1
    else gets[this.#failureOf(outcome)] += 1
    return undefined
  }

  async put({ context, id, session, ttlMs, serverName }: PutRequest): Promise<PutResult> {
    checkContext(context)
    const { puts } = this.stats
    const unsendable = whyUnsendable(id, session, serverName)
    if (unsendable !== undefined) {
      puts.refused += 1
      return unsendable
    }
    const wholeMs = ttlMs === undefined ? undefined : toWholeMs(ttlMs)
    const outcome = await this.#call({
      kind: 'put',
      cache: this.#cache,
      context,
      id,
      session,
      ttlMs: wholeMs,
      serverName,
    })
    if (typeof outcome !== 'string' && outcome.kind === 'stored') {
      const { result } = outcome
      puts[result === 'stored' || result === 'replaced' ? 'stored' : 'refused'] += 1
      return result
    }
    puts[this.#failureOf(outcome)] += 1
    throw toError(outcome)
  }

  async remove(context: Uint8Array, id: Uint8Array): Promise<boolean> {
    checkContext(context)
    const { removes } = this.stats
    if (!isIdLength(id.length)) {
      removes.miss += 1
      return false
    }
    const outcome = await this.#call({ kind: 'remove', cache: this.#cache, context, id })
    if (typeof outcome !== 'string' && outcome.kind === 'removed') {
      removes[outcome.wasThere ? 'removed' : 'miss'] += 1
      return outcome.wasThere
    }
    removes[this.#failureOf(outcome)] += 1
    throw toError(outcome)
  }

  /** Ends the connection for good. Calls in flight and later ones fail as ERR_UNREACHABLE. Idempotent. */
  async close(): Promise<void> {
    this.#link.close()
  }

  #call(call: HooksCall, deadlineMs = this.#deadlineMs): Promise<Outcome> {
    return new Promise((resolve) => this.#link.send(call, deadlineMs, resolve))
  }

  #failureOf(outcome: Outcome): CallFailure {
    if (typeof outcome === 'string') return outcome
    const reason = outcome.kind === 'error' ? REASONS[outcome.code] : UNEXPECTED
    this.#refusals.warn(() => ({ cache: this.#cache, reason }), 'the session cache failed')
    return 'failed'
  }
}

const UNEXPECTED = 'the node answered something else'
const REASONS: Record<HooksError, string> = {
  no_such_cache: 'the node has no cache of this name',
  unknown_call: 'the node is too old for this call',
  internal: 'an internal error of the node',
  forbidden: 'the node does not take this call over this connection',
  no_such_group: 'the node has no group of this name',
}

function toError(outcome: Outcome): TlscachedError {
  if (outcome === 'late') return new TlscachedError('ERR_DEADLINE')
  if (outcome === 'unreachable') return new TlscachedError('ERR_UNREACHABLE')
  if (outcome === 'overloaded') {
    return new TlscachedError('ERR_UNREACHABLE', 'too many calls wait for the node')
  }
  if (outcome.kind !== 'error') return new TlscachedError('ERR_INTERNAL', UNEXPECTED)
  const code: ErrorCode = outcome.code === 'no_such_cache' ? 'ERR_CACHE' : 'ERR_INTERNAL'
  return new TlscachedError(code, REASONS[outcome.code] ?? ERROR_CODES[code])
}

/** Returns the refusal that the node's store would give for a put that no request can hold; undefined when one can. */
function whyUnsendable(
  id: Uint8Array,
  session: Uint8Array,
  serverName: string | undefined,
): PutResult | undefined {
  if (!isIdLength(id.length)) return 'keysize'
  if (!isSessionLength(session.length)) return 'blocksize'
  return isServerName(serverName) ? undefined : 'context'
}

/** Whole milliseconds within 0..MAX_TIMEOUT_MS; a negative lifetime becomes 0, which the node refuses as expired. */
function toWholeMs(ttlMs: number): number {
  return Math.max(0, Math.min(Math.floor(ttlMs), MAX_TIMEOUT_MS))
}

function connectTo(address: Address): Duplex {
  return connectSocket({ ...address, noDelay: true })
}

function toNodeAddress(text: string, isInsecure: boolean): Address {
  const address = parseAddress(text)
  if ('port' in address && address.port === 0) {
    throw new TlscachedError('ERR_ADDRESS', `"${text}" is a node without a port`)
  }
  if (isInsecure || isLoopback(address)) return address
  throw new TlscachedError(
    'ERR_INSECURE',
    `sessions would cross the network in clear to ${formatAddress(address)}: ` +
      'run a node beside the terminator, or set insecure',
  )
}

function checkConnectOptions(options: ConnectOptions): void {
  checkOptions(CALLER, options, OPTION_NAMES)
  const { cache, deadlineMs = DEFAULT_DEADLINE_MS } = options
  if (typeof cache !== 'string' || !CACHE_NAME_PATTERN.test(cache)) {
    throw usageError(CALLER, 'cache must be the name of a cache')
  }
  checkDeadline(CALLER, deadlineMs)
}

// What the hooks on a node in another process count. Plain numbers, exported elsewhere.

const CALL_FAILURES = {
  late: 'no answer came within the deadline',
  unreachable: 'there was no connection to the node',
  overloaded: 'too many calls were in flight',
  failed: 'the node could not carry the call out',
}
/** Why a call had no answer: `late`, `unreachable`, `overloaded` or `failed`. */
export type CallFailure = keyof typeof CALL_FAILURES

export const REMOTE_COUNTERS = {
  /** Gets by result; every result but `hit` is a miss to the caller. */
  gets: by('result', {
    hit: 'a session was returned',
    miss: 'the node had none, or it belongs to another context',
    ...CALL_FAILURES,
  }),
  /** Puts by result; the node has the reasons for `refused`. */
  puts: by('result', {
    stored: 'the node took the session',
    refused: 'the node refused it and counts why',
    ...CALL_FAILURES,
  }),
  /** Removes by result; `miss` means that the node held no such session. */
  removes: by('result', { removed: '', miss: '', ...CALL_FAILURES }),
  /** Connections on which the node answered. */
  connects: one(),
  /** Connections on which the node answered, without the first one. */
  reconnects: one(),
  /** Connections that were lost or could not be made; those that `close` ends are not counted. */
  disconnects: one(),
  /** Answers that came after their deadline. */
  lateAnswers: one(),
}

/** Counters of the hooks on a node in another process, since these hooks were made. */
export type RemoteStats = CountsOf<typeof REMOTE_COUNTERS>
