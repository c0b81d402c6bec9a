// Finds the addresses of the peers: literal ones are taken as they are, names are resolved periodically to all their
// addresses, services to all their names. A name that cannot be resolved keeps its last addresses.

import { lookup, resolveSrv } from 'node:dns/promises'
import { isIP } from 'node:net'
import { formatAddress, type HostAddress, parseHostAddress } from '../../base/address.ts'
import { messageOf, TlscachedError } from '../../base/errors.ts'
import { type Clock, every, type Logger, LogLimiter, type Timer } from '../../base/world.ts'

export const RESOLVE_PERIOD_MS = 30_000
/** Answers used of one name or service; further ones are ignored. */
const MAX_ANSWERS = 256
const FAILURE_LOG_PERIOD_MS = 300_000

/** Resolves a name to all its IPv4 and IPv6 addresses. */
export type Resolver = (name: string) => Promise<readonly string[]>

export const systemResolver: Resolver = async (name) => {
  const answers = await lookup(name, { all: true })
  return answers.map((answer) => answer.address)
}

/** Resolves a service to all its names and ports. Priority and weight are ignored: all of them are peers. */
export type ServiceResolver = (service: string) => Promise<readonly HostAddress[]>

/** Makes a ServiceResolver of Node's `resolveSrv`, which returns names without the final dot. */
export function serviceResolverOf(dns: {
  resolveSrv(service: string): Promise<readonly { name: string; port: number }[]>
}): ServiceResolver {
  return async (service) => {
    const records = await dns.resolveSrv(service)
    // A service whose only target is the root does not exist (RFC 2782).
    return records
      .filter(({ name, port }) => name !== '' && name !== '.' && port > 0)
      .map(({ name, port }) => ({ host: name, port }))
  }
}

export const systemServiceResolver = serviceResolverOf({ resolveSrv })

export interface DiscoveryOptions {
  readonly peers: readonly PeerSource[]
  readonly resolver: Resolver
  readonly serviceResolver: ServiceResolver
  /** Whether to leave out an address: it is this node's own, or the socket cannot send to it. */
  readonly isExcluded: (address: HostAddress) => boolean
  readonly clock: Clock
  readonly logger: Logger
  /** Called with all addresses when they may have changed. */
  readonly onChange: (addresses: readonly HostAddress[]) => void
}

export class Discovery {
  readonly #options: DiscoveryOptions
  /** Last known addresses by name. */
  readonly #resolved = new Map<string, readonly string[]>()
  /** Last known names and ports by service. */
  readonly #services = new Map<string, readonly HostAddress[]>()
  /**
   * Lookups in flight, at most one per name: a name server that is silent for longer than RESOLVE_PERIOD_MS would
   * otherwise fill libuv's thread pool, which runs two lookups at a time.
   */
  readonly #asked = new Map<string, Promise<void>>()
  readonly #failureLogs = new Map<string, LogLimiter>()
  #peers: readonly PeerSource[]
  #timer: Timer | undefined
  #wasTried = false

  constructor(options: DiscoveryOptions) {
    this.#options = options
    this.#peers = options.peers
  }

  /** Announces the literal addresses at once; resolves when every name was looked up, with or without success. */
  async start(): Promise<void> {
    if (this.#timer !== undefined) return
    this.#timer = every(this.#options.clock, RESOLVE_PERIOD_MS, () => void this.refresh())
    this.#wasTried = false
    this.#announce()
    await this.refresh()
  }

  /** Whether there are names that have not been looked up since the start. */
  get isWaiting(): boolean {
    return !this.#wasTried && this.#serviceNames().size + this.#hostNames().size > 0
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  async setPeers(peers: readonly PeerSource[]): Promise<void> {
    this.#peers = peers
    this.#announce()
    await this.refresh()
  }

  /** Resolves every service and every name once more. Never rejects. */
  async refresh(): Promise<void> {
    const { serviceResolver, resolver } = this.#options
    await this.#resolveAll(this.#serviceNames(), this.#services, serviceResolver)
    await this.#resolveAll(this.#hostNames(), this.#resolved, resolver)
    this.#wasTried = true
    // `setPeers` may have been called meanwhile: only the names of the present peers stay.
    const services = this.#serviceNames()
    keepOnly(this.#services, services)
    const names = this.#hostNames()
    keepOnly(this.#resolved, names)
    if (services.size + names.size > 0 && this.#timer !== undefined) this.#announce()
  }

  /** Looks up all names and stores each answer in `known`; a failure keeps the earlier answer. */
  async #resolveAll<Answer>(
    names: ReadonlySet<string>,
    known: Map<string, readonly Answer[]>,
    resolve: (name: string) => Promise<readonly Answer[]>,
  ): Promise<void> {
    await Promise.all(
      [...names].map((name) => {
        const asked = this.#asked.get(name)
        if (asked !== undefined) return asked
        const answered = this.#resolve(name, known, resolve)
        this.#asked.set(name, answered)
        return answered.finally(() => this.#asked.delete(name))
      }),
    )
  }

  async #resolve<Answer>(
    name: string,
    known: Map<string, readonly Answer[]>,
    resolve: (name: string) => Promise<readonly Answer[]>,
  ): Promise<void> {
    try {
      const answers = await resolve(name)
      // An empty answer is more often a failure of the name server than the end of every peer.
      if (answers.length === 0) throw new Error('no address')
      known.set(name, answers.slice(0, MAX_ANSWERS))
    } catch (error) {
      this.#logFailure(name, error)
    }
  }

  #serviceNames(): Set<string> {
    return new Set(this.#peers.flatMap((peer) => ('service' in peer ? [peer.service] : [])))
  }

  #hostNames(): Set<string> {
    const hosts = this.#targets().map(({ host }) => host)
    return new Set(hosts.filter((host) => isIP(host) === 0))
  }

  /** Hosts and ports of all peers, names and literal addresses, with those of the services. */
  #targets(): HostAddress[] {
    return this.#peers.flatMap((peer) =>
      'service' in peer ? (this.#services.get(peer.service) ?? []) : [peer],
    )
  }

  #announce(): void {
    const addresses = new Map<string, HostAddress>()
    for (const { host, port } of this.#targets()) {
      const hosts = isIP(host) === 0 ? (this.#resolved.get(host) ?? []) : [host]
      for (const literal of hosts) {
        const address = { host: literal, port }
        if (!this.#options.isExcluded(address)) addresses.set(formatAddress(address), address)
      }
    }
    this.#options.onChange([...addresses.values()])
  }

  #logFailure(name: string, error: unknown): void {
    const log = this.#failureLogs.get(name) ?? new LogLimiter(this.#options, FAILURE_LOG_PERIOD_MS)
    this.#failureLogs.set(name, log)
    log.warn(
      () => ({ name, reason: messageOf(error) }),
      'replication: cannot resolve the name of a peer, keeping its last addresses',
    )
  }
}

function keepOnly(known: Map<string, unknown>, names: ReadonlySet<string>): void {
  for (const name of known.keys()) if (!names.has(name)) known.delete(name)
}

// Where peers are, as a person writes it: an address, a name with a port, or a service, whose records in the domain
// name system hold names and ports.

/** A service: a name that has SRV records (RFC 2782). */
export interface ServiceName {
  readonly service: string
}

export type PeerSource = HostAddress | ServiceName

export const SERVICE_SCHEME = 'dns+srv://'
export const MAX_SERVICE_NAME_BYTES = 253
const LABEL = '[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?'
/** Source of a regular expression that matches the name of a service; not anchored. */
export const SERVICE_NAME_PATTERN = `${LABEL}(?:\\.${LABEL})*\\.?`
const WHOLE_SERVICE_NAME = new RegExp(`^${SERVICE_NAME_PATTERN}$`)

/** Parses `host:port`, `[v6]:port` or `dns+srv://name`. Throws ERR_ADDRESS. */
export function parsePeerSource(text: string): PeerSource {
  if (!text.startsWith(SERVICE_SCHEME)) {
    const address = parseHostAddress(text)
    if (address.port === 0) {
      throw new TlscachedError('ERR_ADDRESS', `"${text}" is a peer without a port`)
    }
    return address
  }
  const service = text.slice(SERVICE_SCHEME.length)
  if (service.length > MAX_SERVICE_NAME_BYTES || !WHOLE_SERVICE_NAME.test(service)) {
    const form = `${SERVICE_SCHEME}name, as in ${SERVICE_SCHEME}_tlscached._udp.example.com`
    throw new TlscachedError('ERR_ADDRESS', `"${text}" is not ${form}`)
  }
  return { service }
}

export function formatPeerSource(source: PeerSource): string {
  return 'service' in source ? SERVICE_SCHEME + source.service : formatAddress(source)
}
