// One kind of terminator: how a host runs it from our example, and what it can do.

import type { ClientCertificate } from './certificates.ts'
import type { Host, NodeHolder } from './host.ts'
import type { Handshake, Service, TlsVersion } from './s-client.ts'

export interface SharingService extends Service {
  /** The node that it shares sessions through. */
  readonly node: NodeHolder
}

export interface Services {
  readonly shop: SharingService
  /** Another virtual host, or whatever this terminator keeps apart. */
  readonly other: SharingService
  /** Asks for client certificates. */
  readonly admin?: SharingService
  /** Whether every process of it has found its node, given the latest handshakes, for those that can tell. */
  readonly isConnected?: (latest: readonly Handshake[]) => boolean | Promise<boolean>
}

export interface TerminatorKind {
  readonly name: string
  /** Why it cannot be tested here, or false. */
  readonly skip: string | false
  /** The versions in which it shares sessions. */
  readonly versions: readonly TlsVersion[]
  /** Arguments that a client of it needs. */
  readonly clientArgs?: readonly string[]
  readonly clientCertificate?: ClientCertificate
  /** Handshakes at a time. */
  readonly concurrency: number
  /** Sessions in each cell of the table. */
  readonly sessions: number
  /** Share of the sessions that must resume. */
  readonly bar: number
  /**
   * It waits less than this for its node. A session is not counted that it did not find while the machine kept the
   * node waiting for a processor so long.
   */
  readonly deadlineMs?: number
  /** False where the node lives in the process of the terminator: it never is without. */
  readonly outlivesNode: boolean
  /** True where a node that is there but never answers holds up nobody for long. */
  readonly outlivesHang?: boolean
  start(host: Host): Promise<Services>
}
