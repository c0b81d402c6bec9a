// One process of the reference terminator: TLS in front, backends behind, and what both count.

import type { Address, HostAddress, Subnet } from '../base/address.ts'
import type { Clock, Logger } from '../base/world.ts'
import type { SessionHooks } from '../hooks/hooks.ts'
import { connectHooks } from '../hooks/remote-hooks.ts'
import type { ProxyVersion } from './proxy-protocol.ts'
import { BackendPool, createRelay } from './relay.ts'
import type { Revocations } from './revocation.ts'
import type { CacheCallStats, TerminatorStats, TlsVersion } from './stats.ts'
import { type FrontIdentity, TlsFront } from './tls-front.ts'
import type { VirtualHosts } from './virtual-hosts.ts'

export interface TerminatorConfig {
  readonly listen: readonly HostAddress[]
  readonly hosts: VirtualHosts
  readonly minVersion: TlsVersion
  readonly alpn?: readonly string[]
  /** PEM text of authorities; clients must present a certificate that one of them signed. */
  readonly clientCa?: string
  /** Revocation lists of the authorities in `clientCa`. */
  readonly revocations?: Revocations
  readonly sessionTimeoutSec: number
  /** The node and its cache that hold the sessions, in the form that connectHooks takes. */
  readonly node: {
    readonly address: string
    readonly cache: string
    readonly isInsecure: boolean
  }
  /** Longest wait for the cache in one handshake step. */
  readonly deadlineMs: number
  readonly handshakeTimeoutMs: number
  readonly backends: readonly Address[]
  readonly proxyProtocol?: ProxyVersion
  /** Balancers, whose connections must begin with a PROXY header; those of others must not. */
  readonly balancers?: readonly Subnet[]
  readonly connectTimeoutMs: number
  readonly checkPeriodMs: number
  readonly idleTimeoutMs: number
  /** Most client connections open at once in this process; more are closed at once. */
  readonly maxConnections: number
}

export interface TerminatorContext {
  readonly clock: Clock
  readonly logger: Logger
  /** Returns how many log lines the process has dropped. */
  readonly droppedLogLines?: () => number
}

/** Session hooks that count the results of their calls. */
export interface CountedHooks extends SessionHooks {
  readonly stats: CacheCallStats
  open(): Promise<boolean>
  close(): Promise<void>
}

/**
 * Creates a process that reaches its node over rpc. Throws ERR_USAGE, ERR_ADDRESS or ERR_INSECURE, and Node's own
 * error for a certificate that it cannot use.
 */
export function createTerminatorProcess(
  config: TerminatorConfig,
  context: TerminatorContext,
): TerminatorProcess {
  const { node, deadlineMs } = config
  const { clock, logger } = context
  const { cache, isInsecure: insecure } = node
  const hooks = connectHooks(node.address, { cache, deadlineMs, insecure, clock, logger })
  return new TerminatorProcess(config, hooks, context)
}

export class TerminatorProcess {
  readonly #backends: BackendPool
  readonly #front: TlsFront
  readonly #hooks: CountedHooks
  readonly #droppedLogLines: () => number

  /** Throws Node's own error for certificates and options that it cannot use. */
  constructor(config: TerminatorConfig, hooks: CountedHooks, context: TerminatorContext) {
    const { clock, logger } = context
    const { backends: addresses, connectTimeoutMs, checkPeriodMs, proxyProtocol } = config
    const backends = new BackendPool({ addresses, connectTimeoutMs, checkPeriodMs, clock, logger })
    const { idleTimeoutMs } = config
    const relay = { backends, idleTimeoutMs, clock, ...(proxyProtocol && { proxyProtocol }) }
    const serve = createRelay(relay)
    this.#backends = backends
    this.#hooks = hooks
    this.#droppedLogLines = context.droppedLogLines ?? (() => 0)
    this.#front = new TlsFront({ ...config, maxVersion: '1.3', hooks, serve, clock, logger })
  }

  /** Starts to listen and resolves with the addresses. Rejects with ERR_LISTEN. */
  async start(): Promise<readonly HostAddress[]> {
    // The connection to the node is opened first, so that the first handshake need not wait for it.
    await this.#hooks.open()
    const addresses = await this.#front.start()
    this.#backends.start()
    return addresses
  }

  /** Stops accepting and resolves when the last connection has ended; those left after `drainMs` are cut off. */
  async stop(drainMs = 0): Promise<void> {
    await this.#front.stop(drainMs)
    this.#backends.stop()
    await this.#hooks.close()
  }

  /**
   * Uses another identity for handshakes from now on. Throws Node's own error for a certificate that it cannot use,
   * and then nothing changes.
   */
  reload(identity: FrontIdentity): void {
    this.#front.reload(identity)
  }

  readStats(): TerminatorStats {
    const { gets, puts } = this.#hooks.stats
    return {
      ...this.#front.readStats(),
      droppedLogLines: this.#droppedLogLines(),
      cache: structuredClone({ gets, puts }),
      backends: structuredClone({ ...this.#backends.stats }),
    }
  }
}
