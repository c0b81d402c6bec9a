// The streams of a simulation, in place of TCP and TLS: ordered, with back pressure, and with a handshake in which the
// listening side finds out whether the caller has a key of its ring. They stall where datagrams are lost.

import { EventEmitter } from 'node:events'
import type { AddressInfo } from 'node:net'
import { Duplex } from 'node:stream'
import { formatAddress, type HostAddress } from '../../src/base/address.ts'
import type { SyncServer, SyncSocket } from '../../src/replication/sync/tls.ts'
import type { Keyring, KeySource } from '../../src/wire/keyring.ts'
import type { Chance } from './chance.ts'
import type { SimulatedNetwork } from './network.ts'
import type { Timeline } from './timeline.ts'

/** Time after which a lost segment is sent again, and a cut path is tried again. */
const RETRANSMISSION_MS = 200
/** Ports that the kernel chooses: one after the other for sockets at which others arrive, in turn for connections. */
const FIRST_CHOSEN_PORT = 40_000
const FIRST_CALLER_PORT = 49_152
const LAST_PORT = 65_535

/** The process that a socket belongs to. */
export interface SocketOwner {
  readonly host: string
  /** Runs a callback of the process now, later while it is suspended, or never when it is dead. */
  dispatch(callback: () => void): void
  /** Open sockets and listeners. */
  readonly sockets: Set<SimulatedSocket | SimulatedServer>
}

export interface StreamStats {
  connections: number
  bytes: number
}

export class StreamNetwork {
  readonly stats: StreamStats = { connections: 0, bytes: 0 }
  /** Sees each attempt to connect. */
  onConnect: (from: string, to: string) => void = () => {}
  /** Time that each piece takes longer, for slow streams. */
  slownessMs = 0
  readonly timeline: Timeline
  readonly network: SimulatedNetwork
  readonly #chance: Chance
  readonly #servers = new Map<string, SimulatedServer>()
  #nextPort = FIRST_CHOSEN_PORT
  #callerPort = FIRST_CALLER_PORT

  constructor(timeline: Timeline, network: SimulatedNetwork, chance: Chance) {
    this.timeline = timeline
    this.network = network
    this.#chance = chance
  }

  serverAt(address: HostAddress): SimulatedServer | undefined {
    return this.#servers.get(formatAddress(address))
  }

  register(address: HostAddress, server: SimulatedServer): void {
    this.#servers.set(formatAddress(address), server)
  }

  unregister(address: HostAddress): void {
    this.#servers.delete(formatAddress(address))
  }

  choosePort(): number {
    this.#nextPort += 1
    return this.#nextPort
  }

  /** Runs `arrive` at the other host when a segment has arrived there; a cut path is tried again and again. */
  carry(from: string, to: string, arrive: () => void, isWanted: () => boolean): void {
    const path = this.network.path(from, to)
    if (path.isCut || this.#chance.happens(path.loss)) {
      this.timeline.in(RETRANSMISSION_MS, () => {
        if (isWanted()) this.carry(from, to, arrive, isWanted)
      })
      return
    }
    this.timeline.in(path.delayMs + this.slownessMs, arrive)
  }

  /** Connects; the handshake follows as events. Without a keyring the caller never begins it. */
  connect(owner: SocketOwner, address: HostAddress, keyring: Keyring | undefined): SimulatedSocket {
    this.onConnect(owner.host, address.host)
    const caller = new SimulatedSocket(this, owner, address)
    this.#callerPort = this.#callerPort === LAST_PORT ? FIRST_CALLER_PORT : this.#callerPort + 1
    const port = this.#callerPort
    const isWanted = () => !caller.destroyed
    this.carry(owner.host, address.host, () => this.#arrive(caller, port, keyring), isWanted)
    return caller
  }

  #arrive(caller: SimulatedSocket, port: number, keyring: Keyring | undefined): void {
    const { remote, owner } = caller
    const server = this.serverAt(remote)
    const refuse = () =>
      this.carry(
        remote.host,
        owner.host,
        () => owner.dispatch(() => caller.destroy(errorOf('ECONNREFUSED', 'connection refused'))),
        () => !caller.destroyed,
      )
    if (server === undefined) {
      // A host that is off answers nothing.
      if (!this.isOff(remote.host)) refuse()
      return
    }
    this.stats.connections += 1
    const called = new SimulatedSocket(this, server.owner, { host: owner.host, port })
    caller.join(called)
    server.take(called, caller, keyring)
  }

  /** Whether a machine is off, so that nothing answers there. */
  isOff: (host: string) => boolean = () => false
}

export class SimulatedSocket extends Duplex implements SyncSocket {
  readonly owner: SocketOwner
  readonly remote: HostAddress
  readonly remoteAddress: string
  readonly remotePort: number
  readonly #streams: StreamNetwork
  #other: SimulatedSocket | undefined
  /** Tells the other side that there is room again; set while there is none. */
  #takeMore: (() => void) | undefined
  #hasEnded = false

  constructor(streams: StreamNetwork, owner: SocketOwner, remote: HostAddress) {
    super({ allowHalfOpen: false })
    this.#streams = streams
    this.owner = owner
    this.remote = remote
    this.remoteAddress = remote.host
    this.remotePort = remote.port
    owner.sockets.add(this)
  }

  join(other: SimulatedSocket): void {
    this.#other = other
    other.#other = this
  }

  /** Ends without a word to its own process, which is dead; the other side is told by the kernel, if at all. */
  vanish(isReset: boolean): void {
    if (isReset) this.#reset()
    this.#hasEnded = true
    this.removeAllListeners()
    this.destroy()
  }

  #reset(): void {
    const other = this.#other
    if (other === undefined || other.destroyed) return
    const isWanted = () => !other.destroyed
    this.#carry(() => other.destroy(errorOf('ECONNRESET', 'read ECONNRESET')), isWanted)
  }

  /** Runs `arrive` in the process of the other side. */
  #carry(arrive: () => void, isWanted = () => !this.destroyed): void {
    const other = this.#other
    if (other === undefined) return
    const deliver = () => other.owner.dispatch(arrive)
    this.#streams.carry(this.owner.host, other.owner.host, deliver, isWanted)
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    const other = this.#other
    if (other === undefined) {
      done(errorOf('EPIPE', 'not connected'))
      return
    }
    const bytes = Buffer.from(chunk)
    this.#streams.stats.bytes += bytes.length
    this.#carry(() => {
      const proceed = () => this.owner.dispatch(() => done())
      if (other.destroyed || other.push(bytes)) proceed()
      else other.#takeMore = proceed
    })
  }

  override _read(): void {
    const takeMore = this.#takeMore
    this.#takeMore = undefined
    takeMore?.()
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#hasEnded = true
    const other = this.#other
    this.#carry(
      () => {
        if (other?.destroyed === false) other.push(null)
      },
      () => other?.destroyed === false,
    )
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.owner.sockets.delete(this)
    if (!this.#hasEnded) this.#reset()
    done(error)
  }
}

export class SimulatedServer extends EventEmitter implements SyncServer {
  readonly owner: SocketOwner
  readonly #streams: StreamNetwork
  readonly #keys: KeySource
  readonly #open = new Set<SimulatedSocket>()
  #address: HostAddress | undefined
  #isClosing = false

  constructor(streams: StreamNetwork, owner: SocketOwner, keys: KeySource) {
    super()
    this.#streams = streams
    this.owner = owner
    this.#keys = keys
  }

  listen({ host, port }: { host: string; port: number }): void {
    const { owner } = this
    const local = host === '0.0.0.0' || host === '::' ? owner.host : host
    const address = { host: local, port: port === 0 ? this.#streams.choosePort() : port }
    this.#later(() => {
      if (this.#streams.serverAt(address) !== undefined) {
        this.emit('error', errorOf('EADDRINUSE', 'address already in use'))
        return
      }
      this.#address = address
      this.#streams.register(address, this)
      owner.sockets.add(this)
      this.emit('listening')
    })
  }

  address(): AddressInfo | null {
    const address = this.#address
    if (address === undefined) return null
    return { address: address.host, family: 'IPv4', port: address.port }
  }

  close(): void {
    this.#isClosing = true
    this.vanish()
    this.#endWhenEmpty()
  }

  /** Listens no longer. */
  vanish(): void {
    if (this.#address !== undefined) this.#streams.unregister(this.#address)
    this.owner.sockets.delete(this)
  }

  /** Takes a connection that has arrived; three more ways between the hosts make the handshake of TLS 1.3. */
  take(called: SimulatedSocket, caller: SimulatedSocket, keyring: Keyring | undefined): void {
    const { owner } = this
    this.#open.add(called)
    called.on('close', () => {
      this.#open.delete(called)
      this.#endWhenEmpty()
    })
    owner.dispatch(() => this.emit('connection', called))
    if (keyring === undefined) return
    const [here, there] = [owner.host, caller.owner.host]
    const isWanted = () => !called.destroyed && !caller.destroyed
    const carry = (from: string, to: string, arrive: () => void) =>
      this.#streams.carry(from, to, () => isWanted() && arrive(), isWanted)
    // SYN-ACK, then the caller's first flight with the name of its key.
    carry(here, there, () =>
      carry(there, here, () => {
        if (!isProved(keyring, this.#keys.current)) {
          const error = errorOf('ERR_SSL_BINDER_DOES_NOT_VERIFY', 'the caller has another key')
          owner.dispatch(() => this.emit('tlsClientError', error, called))
          return
        }
        carry(here, there, () => {
          caller.owner.dispatch(() => caller.emit('secureConnect'))
          carry(there, here, () =>
            owner.dispatch(() => {
              if (!called.destroyed) this.emit('secureConnection', called)
            }),
          )
        })
      }),
    )
  }

  #endWhenEmpty(): void {
    if (!this.#isClosing || this.#open.size > 0) return
    this.#isClosing = false
    this.#later(() => this.emit('close'))
  }

  #later(callback: () => void): void {
    this.#streams.timeline.in(0.01, () => this.owner.dispatch(callback))
  }
}

/** Whether the listening side has the key with which the caller calls. */
function isProved(caller: Keyring, called: Keyring): boolean {
  const own = caller.syncKey(caller.primaryKeyId)
  const expected = called.syncKey(caller.primaryKeyId)
  return own !== undefined && expected !== undefined && own.equals(expected)
}

function errorOf(code: string, message: string): Error {
  return Object.assign(new Error(message), { code })
}
