// Where the peers are: literal addresses as they stand, names resolved again and again to all their
// addresses. A name that cannot be resolved keeps the addresses it had.

import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { formatAddress, type HostAddress } from '../base/address.ts'
import { type Clock, every, type Timer } from '../base/clock.ts'
import { messageOf } from '../base/errors.ts'
import { type Logger, LogLimiter } from '../base/logger.ts'

export const RESOLVE_PERIOD_MS = 30_000
/** What one name may resolve to; the rest is left out. */
const MAX_ADDRESSES_PER_NAME = 256
const FAILURE_LOG_PERIOD_MS = 300_000

/** All IPv4 and IPv6 addresses of a name. */
export type Resolver = (name: string) => Promise<readonly string[]>

export const systemResolver: Resolver = async (name) => {
  const answers = await lookup(name, { all: true })
  return answers.map((answer) => answer.address)
}

export interface DiscoveryOptions {
  readonly peers: readonly HostAddress[]
  readonly resolver: Resolver
  /** Whether to leave an address out: this node's own, or one it has no way to send to. */
  readonly isExcluded: (address: HostAddress) => boolean
  readonly clock: Clock
  readonly logger: Logger
  /** Called when the addresses may have changed. */
  readonly onChange: (addresses: readonly HostAddress[]) => void
}

export class Discovery {
  readonly #options: DiscoveryOptions
  /** Last known addresses by name. */
  readonly #resolved = new Map<string, readonly string[]>()
  readonly #failureLogs = new Map<string, LogLimiter>()
  #peers: readonly HostAddress[]
  #timer: Timer | undefined

  constructor(options: DiscoveryOptions) {
    this.#options = options
    this.#peers = options.peers
  }

  /** Tells the literal addresses at once; resolves when every name was tried. */
  async start(): Promise<void> {
    if (this.#timer !== undefined) return
    this.#timer = every(this.#options.clock, RESOLVE_PERIOD_MS, () => void this.refresh())
    this.#announce()
    await this.refresh()
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  async setPeers(peers: readonly HostAddress[]): Promise<void> {
    this.#peers = peers
    this.#announce()
    await this.refresh()
  }

  /** Resolves every name once more. Never rejects. */
  async refresh(): Promise<void> {
    const names = new Set(this.#peers.map((peer) => peer.host).filter((host) => isIP(host) === 0))
    if (names.size === 0) return
    await Promise.all([...names].map((name) => this.#resolve(name)))
    for (const name of this.#resolved.keys()) {
      if (!names.has(name)) this.#resolved.delete(name)
    }
    if (this.#timer !== undefined) this.#announce()
  }

  async #resolve(name: string): Promise<void> {
    try {
      const addresses = await this.#options.resolver(name)
      // An empty answer is a name server's failure more often than the end of every peer.
      if (addresses.length === 0) throw new Error('no address')
      this.#resolved.set(name, addresses.slice(0, MAX_ADDRESSES_PER_NAME))
    } catch (error) {
      this.#logFailure(name, error)
    }
  }

  #announce(): void {
    const addresses = new Map<string, HostAddress>()
    for (const { host, port } of this.#peers) {
      const hosts = isIP(host) === 0 ? (this.#resolved.get(host) ?? []) : [host]
      for (const literal of hosts) {
        const address = { host: literal, port }
        if (!this.#options.isExcluded(address)) addresses.set(formatAddress(address), address)
      }
    }
    this.#options.onChange([...addresses.values()])
  }

  #logFailure(name: string, error: unknown): void {
    const { clock, logger } = this.#options
    const log = this.#failureLogs.get(name) ?? new LogLimiter(clock, FAILURE_LOG_PERIOD_MS)
    this.#failureLogs.set(name, log)
    log.pass((heldBack) =>
      logger.warn(
        { name, reason: messageOf(error), heldBack },
        'replication: cannot resolve the name of a peer, keeping its last addresses',
      ),
    )
  }
}
