// Copies and compares stores with peers over TCP: the listener beside the replication socket, and the calls to peers.

import { formatAddress, type HostAddress, isMulticast } from '../base/address.ts'
import type { Clock } from '../base/clock.ts'
import { codeOf, TlscachedError } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import type { RandomSource } from '../base/random.ts'
import type { JoinState } from '../replication/replicator.ts'
import type { Sender } from '../replication/sender.ts'
import { connectSync } from '../replication/sync-connect.ts'
import { SyncListener } from '../replication/sync-listener.ts'
import { SyncResponder } from '../replication/sync-responder.ts'
import { createSyncStats, SyncError } from '../replication/sync-stats.ts'
import { Synchronizer } from '../replication/synchronizer.ts'
import type { SessionStore } from '../store/session-store.ts'
import type { Keyring } from '../wire/keyring.ts'

export interface NodeSyncOptions {
  /** Address as configured: its port is 0 when the kernel chooses one. */
  readonly listen: HostAddress
  readonly digestIntervalMs: number
  readonly stores: ReadonlyMap<string, SessionStore>
  readonly keyring: () => Keyring
  /** Returns the peers that have proved to be alive. */
  readonly senders: () => readonly Sender[]
  readonly joinState: () => JoinState
  readonly clock: Clock
  readonly random: RandomSource
  readonly logger: Logger
}

export class NodeSync {
  readonly stats = createSyncStats()
  readonly synchronizer: Synchronizer<Sender>
  readonly #listen: HostAddress
  readonly #listener: SyncListener

  constructor(options: NodeSyncOptions) {
    const { stores, keyring, senders, clock } = options
    const shared = { ...options, stats: this.stats }
    this.#listen = options.listen
    this.synchronizer = new Synchronizer({
      ...shared,
      peers: () => senders().filter((sender) => sender.syncPort !== undefined),
      connect: (sender, signal) => connectSync(syncAddressOf(sender), keyring(), clock, signal),
    })
    const isComplete = () => this.synchronizer.isComplete
    const responder = new SyncResponder({ stores, isComplete, clock, stats: this.stats })
    this.#listener = new SyncListener({
      ...shared,
      isPeer: (host) => senders().some(({ provenAddress }) => provenAddress?.host === host),
      serve: (stream) => responder.serve(stream),
    })
  }

  /**
   * Listens at the address of the replication socket, or at another port when that one is taken and may differ.
   * Resolves with the port. Rejects with ERR_LISTEN.
   */
  async listen(address: HostAddress): Promise<number> {
    try {
      await this.#listener.start(address)
    } catch (error) {
      // A UDP port that the kernel chose or that belongs to a multicast group may be taken for TCP. Then the kernel
      // chooses another one, which greetings announce.
      const isChosen = this.#listen.port !== 0 && !isMulticast(this.#listen.host)
      if (isChosen || codeOf(error) !== 'EADDRINUSE') {
        const where = formatAddress(address)
        throw new TlscachedError('ERR_LISTEN', `cannot listen on ${where} (TCP)`, { cause: error })
      }
      await this.#listener.start({ ...address, port: 0 })
    }
    return this.#listener.port
  }

  async stop(): Promise<void> {
    await Promise.all([this.synchronizer.stop(), this.#listener.stop()])
  }
}

/**
 * Returns the address that the sender has proved, so that nobody else is called in its name. Throws a SyncError when
 * the sender does not synchronize.
 */
function syncAddressOf(sender: Sender): HostAddress {
  const { provenAddress, syncPort } = sender
  if (provenAddress === undefined || syncPort === undefined) {
    throw new SyncError('broken', 'the peer does not synchronize')
  }
  return { host: provenAddress.host, port: syncPort }
}
