// Accepts TCP connections of peers. A connection that has not yet proved a key costs one socket for a short time at
// most, and is closed for newer ones. Addresses from which a peer proved itself over UDP have slots of their own, and
// no single other address can take all the slots for handshakes that the rest share: a flood from strangers locks no
// peer out, neither before its handshake nor after it.

import { once } from 'node:events'
import { isIP } from 'node:net'
import type { HostAddress } from '../../base/address.ts'
import { type Clock, type Logger, LogLimiter, type Timer } from '../../base/world.ts'
import type { SessionStore } from '../../store/session-store.ts'
import type { EntryVersion } from '../../store/stored-entries.ts'
import type { KeySource } from '../../wire/keyring.ts'
import { eraseSecrets, type RingOffer } from '../../wire/ring-message.ts'
import {
  type EntriesRequest,
  encodeSyncFrame,
  MAX_IDS_PER_FRAME,
  type SyncFrame,
  type ToldLimits,
  type TraceRequest,
} from '../../wire/sync-message.ts'
import { BucketedVersions } from './bucketed-versions.ts'
import { type RingHolder, receiveRings, sendRings } from './ring-exchange.ts'
import { failureOf, SyncError, type SyncStats } from './stats.ts'
import { applyEntries, ChangeSender, FrameStream, Pacer, PeerAdmission } from './stream.ts'
import {
  HANDSHAKE_TIMEOUT_MS,
  handshakeReason,
  type SyncServer,
  type SyncSocket,
  type SyncStreams,
  tlsStreams,
} from './tls.ts'

/**
 * Concurrent handshakes from addresses of peers, and as many from all others; a further one closes the oldest of its
 * kind.
 */
export const MAX_HANDSHAKES = 256
/** Concurrent handshakes from one address that is no peer's; a further one closes the oldest from this address. */
export const MAX_HANDSHAKES_PER_ADDRESS = 64
/**
 * Concurrent connections from addresses of peers; far more would only slow each other down. A further one is closed.
 */
export const MAX_CONNECTIONS = 64
/**
 * Concurrent connections from other addresses, like that of a peer behind a NAT or of one that is only just greeting.
 */
export const MAX_STRANGER_CONNECTIONS = 16
const BACKLOG = 511

export interface SyncListenerOptions {
  readonly keys: KeySource
  /** Serves one connection: resolves when the peer ended it, rejects when it is of no more use. */
  readonly serve: (stream: FrameStream) => Promise<void>
  /** Whether a peer proved over UDP that it is at this IP address. */
  readonly isPeer: (host: string) => boolean
  readonly stats: SyncStats
  readonly clock: Clock
  readonly logger: Logger
  /** Default: TLS. */
  readonly streams?: SyncStreams | undefined
}

interface Handshake {
  readonly socket: SyncSocket
  readonly timer: Timer
  readonly host: string
  readonly isPeer: boolean
}

export class SyncListener {
  readonly #options: SyncListenerOptions
  readonly #log: LogLimiter
  /** Running handshakes by the text that `keyOf` makes, oldest first. */
  readonly #handshakes = new Map<string, Handshake>()
  /** Served connections; the value says whether the address is a peer's. */
  readonly #connections = new Map<SyncSocket, boolean>()
  #server: SyncServer | undefined

  constructor(options: SyncListenerOptions) {
    this.#options = options
    this.#log = new LogLimiter(options)
  }

  /** TCP port that it listens on; 0 when it does not listen. */
  get port(): number {
    const address = this.#server?.address()
    return typeof address === 'object' && address !== null ? address.port : 0
  }

  /** Open connections, those in their handshake included. */
  get connectionCount(): number {
    return this.#handshakes.size + this.#connections.size
  }

  /** Listens; rejects with the system's error when it cannot bind the address. */
  async start({ host, port }: HostAddress): Promise<void> {
    const { streams = tlsStreams, keys } = this.#options
    const server = streams.createServer(keys)
    server.on('connection', (socket: SyncSocket) => this.#begin(socket))
    server.on('secureConnection', (socket: SyncSocket) => this.#accept(socket))
    server.on('tlsClientError', (error: Error, socket: SyncSocket) => {
      if (this.#take(keyOf(socket)) !== undefined) this.#failHandshake(error)
      socket.destroy()
    })
    server.listen({ host, port, backlog: BACKLOG })
    await once(server, 'listening')
    // The server goes on after an error, such as running out of file descriptors: the next connection may succeed.
    server.on('error', (error) => this.#failHandshake(error))
    this.#server = server
  }

  /** Stops listening and closes every connection; idempotent. */
  async stop(): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    this.#server = undefined
    const closed = once(server, 'close')
    server.close()
    for (const { socket, timer } of this.#handshakes.values()) {
      timer.cancel()
      socket.destroy()
    }
    for (const socket of this.#connections.keys()) socket.destroy()
    this.#handshakes.clear()
    await closed
  }

  #begin(socket: SyncSocket): void {
    const { clock, stats, isPeer: isPeerAt } = this.#options
    const host = hostOf(socket)
    const isPeer = isPeerAt(host)
    const tooMany = this.#oldestOfTooMany(host, isPeer)
    if (tooMany !== undefined) {
      stats.failures.flood += 1
      this.#take(tooMany)?.destroy()
    }
    const key = keyOf(socket)
    const timer = clock.after(HANDSHAKE_TIMEOUT_MS, () => {
      this.#take(key)?.destroy()
      this.#failHandshake('too slow')
    })
    this.#handshakes.set(key, { socket, timer, host, isPeer })
    socket.on('error', () => {})
    socket.on('close', () => {
      // The handshake is still in the map: it was neither accepted nor closed by this node, so the other side ended it.
      if (this.#handshakes.get(key)?.socket !== socket) return
      this.#take(key)
      this.#failHandshake('ended')
    })
  }

  #accept(socket: SyncSocket): void {
    const { stats, clock, serve, isPeer: isPeerAt } = this.#options
    this.#take(keyOf(socket))
    const isPeer = isPeerAt(hostOf(socket))
    const isOfItsKind = (other: boolean) => other === isPeer
    const served = [...this.#connections.values()].filter(isOfItsKind).length
    if (served >= (isPeer ? MAX_CONNECTIONS : MAX_STRANGER_CONNECTIONS)) {
      stats.failures.busy += 1
      socket.destroy()
      return
    }
    this.#connections.set(socket, isPeer)
    socket.on('close', () => this.#connections.delete(socket))
    const stream = new FrameStream(socket, clock)
    serve(stream)
      .then(() => stream.end())
      .catch((error: unknown) => {
        if (this.#server !== undefined) stats.failures[failureOf(error)] += 1
        stream.close()
      })
  }

  /** The handshake to close for a new one from this address; undefined while there is room. */
  #oldestOfTooMany(host: string, isPeer: boolean): string | undefined {
    const own: string[] = []
    const kind: string[] = []
    for (const [key, handshake] of this.#handshakes) {
      if (handshake.host === host) own.push(key)
      if (handshake.isPeer === isPeer) kind.push(key)
    }
    if (!isPeer && own.length >= MAX_HANDSHAKES_PER_ADDRESS) return own[0]
    return kind.length >= MAX_HANDSHAKES ? kind[0] : undefined
  }

  /** Removes a handshake, cancels its timer and returns its socket; undefined when it is not there. */
  #take(key: string): SyncSocket | undefined {
    const handshake = this.#handshakes.get(key)
    this.#handshakes.delete(key)
    handshake?.timer.cancel()
    return handshake?.socket
  }

  #failHandshake(error: unknown): void {
    const { stats } = this.#options
    stats.failures.handshake += 1
    this.#log.warn(
      () => ({ reason: handshakeReason(error) }),
      'replication: refused a connection that does not prove to have a key',
    )
  }
}

/** The caller's IP address; an IPv4 address in its own form also on an IPv6 socket. */
function hostOf(socket: SyncSocket): string {
  const host = socket.remoteAddress ?? ''
  const mapped = host.replace(/^::ffff:/i, '')
  return isIP(mapped) === 4 ? mapped : host
}

function keyOf(socket: SyncSocket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`
}

// The called side of a connection: answers one request after the other until the caller ends it.

export interface SyncResponderOptions {
  readonly stores: ReadonlyMap<string, SessionStore>
  /** Returns what this node says of itself: JSON of at most MAX_SUMMARY_BYTES. */
  readonly summary: () => Buffer
  /** Resolves with what this node knows of a session: JSON of at most MAX_SUMMARY_BYTES. */
  readonly trace: (asked: TraceRequest) => Promise<Buffer>
  /** Whether this node's own join is over; as long as it is not, its stores are no full copy. */
  readonly isComplete: () => boolean
  /** The rings of this node; absent where it has none, and answers with none. */
  readonly rings?: RingHolder | undefined
  readonly clock: Clock
  readonly stats: SyncStats
}

type VersionsRequest = SyncFrame & { readonly kind: 'versions_request' }

const NO_BUCKETS = Buffer.alloc(0)

export class SyncResponder {
  readonly #options: SyncResponderOptions

  constructor(options: SyncResponderOptions) {
    this.#options = options
  }

  /** Serves one connection; resolves when the caller ended it, rejects with a SyncError when it is of no more use. */
  async serve(stream: FrameStream): Promise<void> {
    const pacer = new Pacer(this.#options.clock)
    const versions = new Map<string, BucketedVersions>()
    for (let frame = await stream.receive(); frame !== undefined; frame = await stream.receive()) {
      await this.#answer(stream, frame, versions)
      // The next frame may have arrived already, and would be served before anything else gets a turn.
      if (pacer.isOver) await pacer.pause()
    }
  }

  /** Answers one frame. `versions` has the walks of this connection by name of the cache. */
  async #answer(
    stream: FrameStream,
    frame: SyncFrame,
    versions: Map<string, BucketedVersions>,
  ): Promise<void> {
    const { stores, clock, stats } = this.#options
    switch (frame.kind) {
      case 'changes':
        return applyEntries(frame, stores, stats)
      case 'applied_request':
        return stream.send(encodeSyncFrame({ kind: 'end', isComplete: true }))
      case 'snapshot_request':
        await this.#sendSnapshot(
          new ChangeSender(stream, clock, stats),
          stores.get(frame.cache),
          frame.limits,
        )
        break
      case 'summary_request':
        return stream.send(encodeSyncFrame({ kind: 'summary', document: this.#options.summary() }))
      case 'trace_request': {
        const document = await this.#options.trace(frame)
        return stream.send(encodeSyncFrame({ kind: 'trace', document }))
      }
      case 'digest_request':
        // A new comparison begins: the walk of the last one is out of date.
        versions.delete(frame.cache)
        return stream.send(encodeSyncFrame(digestOf(stores.get(frame.cache))))
      case 'versions_request':
        await this.#sendVersions(stream, frame, versions)
        break
      case 'entries_request':
        await this.#sendEntries(new ChangeSender(stream, clock, stats), frame)
        break
      case 'rings':
        return this.#swapRings(stream, frame.rings)
      case 'digest':
      case 'versions':
      case 'end':
      case 'summary':
      case 'trace':
        throw new SyncError('malformed', 'an answer to nothing')
    }
    await stream.send(encodeSyncFrame({ kind: 'end', isComplete: this.#options.isComplete() }))
  }

  /** Answers with what this node held before it takes over what the caller has. */
  async #swapRings(stream: FrameStream, theirs: readonly RingOffer[]): Promise<void> {
    const { rings, stats } = this.#options
    const own = rings?.offers() ?? []
    try {
      receiveRings(theirs, rings)
      stats.ringSwaps += 1
      await sendRings(stream, own)
    } finally {
      eraseSecrets(own)
    }
  }

  async #sendSnapshot(
    sender: ChangeSender,
    store: SessionStore | undefined,
    limits: ToldLimits | undefined,
  ): Promise<void> {
    if (store === undefined) return
    const admission = new PeerAdmission(limits)
    for (const slot of store.entries.slots()) {
      // Flushed before the entry is read, because the entry may be removed while this waits.
      if (sender.isFull) await sender.flush()
      const change = store.entries.changeAt(slot)
      if (change !== undefined && admission.takes(change)) await sender.add(change)
    }
    await sender.flush()
  }

  async #sendVersions(
    stream: FrameStream,
    { cache, buckets }: VersionsRequest,
    known: Map<string, BucketedVersions>,
  ): Promise<void> {
    const { stores, clock } = this.#options
    const store = stores.get(cache)
    if (store === undefined) return
    const pacer = new Pacer(clock, () => stream.assertOpen())
    const all = known.get(cache) ?? (await BucketedVersions.of(store, pacer))
    known.set(cache, all)
    let versions: EntryVersion[] = []
    for await (const version of all.in(new Set(buckets))) {
      versions.push(version)
      if (versions.length < MAX_IDS_PER_FRAME) continue
      await stream.send(encodeSyncFrame({ kind: 'versions', versions }))
      versions = []
    }
    if (versions.length > 0) await stream.send(encodeSyncFrame({ kind: 'versions', versions }))
  }

  async #sendEntries(sender: ChangeSender, { cache, ids, limits }: EntriesRequest): Promise<void> {
    const store = this.#options.stores.get(cache)
    const admission = new PeerAdmission(limits)
    for (const id of ids) {
      const change = store?.entries.changeOf(id)
      if (change !== undefined && admission.takes(change)) await sender.add(change)
    }
    await sender.flush()
  }
}

function digestOf(store: SessionStore | undefined): SyncFrame & { readonly kind: 'digest' } {
  if (store === undefined) {
    return { kind: 'digest', buckets: NO_BUCKETS, entries: 0, sessionRoom: 0, removalRoom: 0 }
  }
  const { items, tombstones } = store.stats
  const { sessions, removals } = store.room
  return {
    kind: 'digest',
    buckets: store.entries.digest.toBytes(),
    entries: items + tombstones,
    sessionRoom: sessions,
    removalRoom: removals,
    limits: store.limits,
  }
}
