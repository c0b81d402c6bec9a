// The ticket keys of a group from a node in another process, over its rpc frontend: a TLS server takes them as it would
// from a node of its own process. While the node is away the server goes on with the keys that it has.

import type { Duplex } from 'node:stream'
import { parseAddress, type UnixAddress } from '../base/address.ts'
import { by, type CountsOf, one, zeros } from '../base/counters.ts'
import { messageOf, TlscachedError } from '../base/errors.ts'
import { checkOptions, usageError } from '../base/options.ts'
import { connectSecretly } from '../base/secret-socket.ts'
import {
  type Clock,
  type Logger,
  type RandomSource,
  silentLogger,
  systemClock,
  systemRandom,
} from '../base/world.ts'
import type { TicketKeySource } from '../tickets/authority.ts'
import { type AgedKey, openedKeys, type RingView } from '../tickets/rule.ts'
import { TicketKey } from '../tickets/ticket-key.ts'
import type { HooksError, HooksResponse, TicketKeysResult } from '../wire/hooks-message.ts'
import { GROUP_NAME_PATTERN, type OfferedKey } from '../wire/ring-message.ts'
import { type RemoteConnection, RemoteLink } from './remote-link.ts'

const OPEN_TIMEOUT_MS = 1000
const CALLER = 'connectTicketKeys'

/** How ticket keys come from a node in another process. An unknown option is the error ERR_USAGE. */
export interface TicketKeyConnectOptions {
  /** Name of a group in `tickets.groups` of the node. */
  readonly group: string
  /** Receives lost connections and what the node refuses; default: nothing is logged. */
  readonly logger?: Logger
  /** Time, injected by tests; default: the system's. */
  readonly clock?: Clock
  /** Randomness for the pauses between attempts, injected by tests; default: the system's. */
  readonly random?: RandomSource
  /** Makes the connection, for tests; default: over a unix socket. */
  readonly connect?: (address: UnixAddress) => Duplex
}

const OPTION_NAMES: ReadonlySet<string> = new Set<keyof TicketKeyConnectOptions>([
  'group',
  'logger',
  'clock',
  'random',
  'connect',
])

const REFUSALS = {
  no_such_group: 'the node has no group of this name',
  forbidden: 'the node gives no ticket keys over this connection, or has none',
  unknown_call: 'the node is of an earlier release',
  failed: 'the node failed, or answered something else',
}

export const REMOTE_TICKET_COUNTERS = {
  /** Times that the node sent its keys. */
  updates: one(),
  /** Times that the node gave no keys, by reason. */
  refused: by('reason', REFUSALS),
  /** Connections on which the node answered. */
  connects: one(),
  /** Connections on which the node answered, without the first one. */
  reconnects: one(),
  /** Connections that were lost or could not be made; those that `close` ends are not counted. */
  disconnects: one(),
  /** Pings that were answered after their deadline. */
  lateAnswers: one(),
}

/** Counters of ticket keys from a node in another process, since the source was made. */
export type RemoteTicketStats = CountsOf<typeof REMOTE_TICKET_COUNTERS>

/**
 * Returns the ticket keys of a group of a node in another process, for `attachTicketKeys`. The `frontends.rpc` of the node
 * listens at `address`, which is `unix:/path`: keys go over a unix socket alone, which only the user of the node and root
 * can open. It returns at once and connects, again and again with growing pauses up to a second, until `close`. The
 * protocol is in proto/PROTOCOL.md, section 8.
 *
 * Throws ERR_ADDRESS when `address` is no unix socket, and ERR_USAGE when an option is unknown or no name of a group.
 *
 * ```ts
 * const keys = connectTicketKeys('unix:/run/tlscached/rpc.sock', { group: 'www', logger: console })
 * attachTicketKeys(server, keys)
 * await keys.open()
 * ```
 */
export function connectTicketKeys(
  address: string,
  options: TicketKeyConnectOptions,
): RemoteTicketKeys {
  checkOptions(CALLER, options, OPTION_NAMES)
  if (typeof options.group !== 'string' || !GROUP_NAME_PATTERN.test(options.group)) {
    throw usageError(CALLER, 'group must be the name of a group')
  }
  const parsed = parseAddress(String(address))
  if ('path' in parsed) return new RemoteTicketKeys(parsed, options)
  throw new TlscachedError(
    'ERR_ADDRESS',
    `"${address}" is no unix socket: ticket keys go over unix:/path alone`,
  )
}

/**
 * Ticket keys of a node in another process, made by `connectTicketKeys`. While the node is away, or has no keys yet, the
 * last ones stay in use. Keys that the node no longer has are filled with zeros.
 */
export class RemoteTicketKeys implements TicketKeySource {
  /** Keys received, refusals by reason, and connections, since this source was made. */
  readonly stats: RemoteTicketStats = zeros(REMOTE_TICKET_COUNTERS)
  readonly #group: string
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #link: RemoteLink
  readonly #listeners = new Set<() => void>()
  #view: RingView = { current: undefined, next: [], previous: [] }

  constructor(address: UnixAddress, options: TicketKeyConnectOptions) {
    const { group, clock = systemClock, logger = silentLogger, random = systemRandom } = options
    const { connect = connectSecretly } = options
    this.#group = group
    this.#clock = clock
    this.#logger = logger
    this.#link = new RemoteLink({
      clock,
      logger,
      random,
      connect: () => connect(address),
      // One process has one source: a worker of node:cluster is a program of its own.
      pid: () => process.pid,
      stats: this.stats,
      said: {
        connected: `connected to the node that has the ticket keys of ${group}`,
        lost: `the node with the ticket keys of ${group} is away: tickets go on under the last ones`,
      },
      onReady: (connection) => this.#watch(connection),
      isSecret: true,
    })
    // The first call connects; from then on the link does it by itself.
    this.#link.send({ kind: 'ping' }, OPEN_TIMEOUT_MS, () => {})
  }

  /** Whether there is a connection on which the node answered. */
  get isConnected(): boolean {
    return this.#link.isConnected
  }

  view(): RingView {
    return this.#view
  }

  onChange(listener: () => void): () => void {
    // Wrapped, so that a function that listens twice is called twice and each end ends one.
    const own = () => listener()
    this.#listeners.add(own)
    return () => this.#listeners.delete(own)
  }

  /**
   * Waits for the first keys, so that the first handshake of this process can have a ticket. Resolves with whether there
   * are some within `timeoutMs` milliseconds. Never rejects.
   */
  open(timeoutMs = OPEN_TIMEOUT_MS): Promise<boolean> {
    if (this.#view.current !== undefined) return Promise.resolve(true)
    return new Promise((resolve) => {
      const finish = (isThere: boolean) => {
        timer.cancel()
        unsubscribe()
        resolve(isThere)
      }
      const timer = this.#clock.after(timeoutMs, () => finish(false))
      const unsubscribe = this.onChange(() => finish(true))
    })
  }

  /** Ends the connection for good and fills all keys with zeros: handshakes are full ones. Idempotent. */
  close(): void {
    this.#link.close()
    for (const { key } of openedKeys(this.#view)) key.erase()
    this.#view = { current: undefined, next: [], previous: [] }
    this.#listeners.clear()
  }

  #watch(connection: RemoteConnection): void {
    connection.watch({ kind: 'watchTickets', group: this.#group }, (result) => this.#take(result))
  }

  #take(result: HooksResponse['result']): void {
    if (result.kind !== 'ticketKeys') {
      this.#refuse(result.kind === 'error' ? result.code : undefined)
      return
    }
    this.stats.updates += 1
    // A node that has just started has no keys yet: what is there is better than nothing.
    if (result.current === undefined) return
    this.#replace(result, result.current)
    for (const listener of [...this.#listeners]) {
      try {
        listener()
      } catch (error) {
        this.#logger.error({ reason: messageOf(error) }, 'a listener for ticket keys failed')
      }
    }
  }

  /** Takes over the keys of the node. Those that are known stay the same objects, those that are gone are erased. */
  #replace({ next, previous }: TicketKeysResult, current: OfferedKey): void {
    const nowMs = this.#clock.monotonicMs()
    const held = new Map(openedKeys(this.#view).map((one) => [one.key.hexName, one]))
    const take = ({ name, secret, ageMs }: OfferedKey): AgedKey => {
      const hexName = name.toString('hex')
      const known = held.get(hexName)
      held.delete(hexName)
      const key = known?.key ?? TicketKey.from(name, secret, 'peer')
      return { key, bornMs: nowMs - ageMs, knownMs: known?.knownMs ?? nowMs }
    }
    this.#view = { current: take(current), next: next.map(take), previous: previous.map(take) }
    for (const { key } of held.values()) key.erase()
  }

  #refuse(code: HooksError | undefined): void {
    const reason =
      code !== undefined && code in REFUSALS ? (code as keyof typeof REFUSALS) : 'failed'
    this.stats.refused[reason] += 1
    this.#logger.warn(
      { group: this.#group, reason: REFUSALS[reason] },
      'the node gives no ticket keys: the TLS server goes on without',
    )
  }
}
