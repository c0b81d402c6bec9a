// UDP transport: one socket for unicast and, for a multicast group, another one that receives from the group.
// Everything is sent from the unicast socket, and answers come back there.

import type { Socket, SocketType } from 'node:dgram'
import { lookup } from 'node:dns/promises'
import { isIP, isIPv4, isIPv6 } from 'node:net'
import { networkInterfaces } from 'node:os'
import { DgramAsPromised, type SocketAsPromised } from 'dgram-as-promised'
import { type HostAddress, isMulticast, literalLookup } from '../../base/address.ts'
import { codeOf, messageOf } from '../../base/errors.ts'
import { type Clock, type Logger, LogLimiter } from '../../base/world.ts'
import type { DatagramReceiver, Transport } from './transport.ts'

/**
 * Asked of the kernel: holds about 3,600 full datagrams while the event loop is busy. Its default holds fewer than 100.
 */
export const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024
/**
 * Asked of the kernel: datagrams to a host whose link address it still looks for wait in the send buffer, in the way of
 * all others.
 */
const SEND_BUFFER_BYTES = 4 * 1024 * 1024
/** Bytes that may wait for the kernel before `send` drops datagrams. */
const MAX_QUEUED_BYTES = 8 * 1024 * 1024
/** Multicast stays in the local network unless configured otherwise. */
export const DEFAULT_MULTICAST_HOPS = 1

/** Linux reports twice the granted size, because it includes its own bookkeeping: socket(7). */
const REPORTED_PER_GRANTED = process.platform === 'linux' ? 2 : 1
const MAPPED_PREFIX = '::ffff:'

export interface UdpTransportOptions {
  /** A unicast address or name, or a multicast group to join. For port 0 the kernel chooses one. */
  readonly listen: HostAddress
  /** Interface for multicast: its name, or for IPv4 its address. Default: the kernel's choice. */
  readonly networkInterface?: string | undefined
  /** Hop limit of multicast datagrams: 1 stays in the local network, and each router takes one. */
  readonly multicastHops?: number | undefined
  readonly clock: Clock
  readonly logger: Logger
}

export interface UdpTransportStats {
  /** Receive buffer that the kernel granted to the socket opened last; 0 before the start. */
  receiveBufferBytes: number
  /** Datagrams that the kernel refused to send: no route, port unreachable, too large for the interface. */
  sendErrors: number
}

/** A transport that counts what the kernel refuses to send. */
export interface CountingTransport extends Transport {
  readonly stats: Readonly<UdpTransportStats>
}

/** Makes a transport, which opens its sockets in `start`. */
export type OpenTransport = (options: UdpTransportOptions) => CountingTransport

export class UdpTransport implements CountingTransport {
  readonly stats: UdpTransportStats = { receiveBufferBytes: 0, sendErrors: 0 }
  readonly group: HostAddress | undefined
  readonly #options: UdpTransportOptions
  readonly #errorLog: LogLimiter
  readonly #onSent = (error: Error | null) => {
    if (error !== null) this.#countError(error)
  }
  #address: HostAddress
  #isIPv6 = false
  #sockets: SocketAsPromised[] = []
  /** Socket that sends; undefined when not started. */
  #unicast: Socket | undefined

  constructor(options: UdpTransportOptions) {
    this.#options = options
    this.#errorLog = new LogLimiter(options)
    this.#address = options.listen
    this.group = isMulticast(options.listen.host) ? options.listen : undefined
  }

  get address(): HostAddress {
    return this.#address
  }

  get queuedBytes(): number {
    return this.#unicast?.getSendQueueSize() ?? 0
  }

  async start(receive: DatagramReceiver): Promise<void> {
    const { listen } = this.#options
    try {
      if (this.group === undefined) await this.#startUnicast(await resolveListen(listen), receive)
      else await this.#startMulticast(this.group, receive)
    } catch (error) {
      await this.stop()
      throw error
    }
  }

  send(datagram: Buffer, to: HostAddress): boolean {
    const socket = this.#unicast
    if (socket === undefined || this.queuedBytes + datagram.length > MAX_QUEUED_BYTES) return false
    try {
      socket.send(datagram, to.port, this.#literalFor(to), this.#onSent)
    } catch (error) {
      this.#countError(error)
    }
    return true
  }

  async stop(): Promise<void> {
    const sockets = this.#sockets
    this.#sockets = []
    this.#unicast = undefined
    await Promise.all(sockets.map((socket) => socket.close()))
  }

  async #startUnicast(listen: HostAddress, receive: DatagramReceiver): Promise<void> {
    const unicast = await this.#open(listen, false, receive)
    this.#unicast = unicast.socket
    this.#setAddress({ host: listen.host, port: unicast.address().port })
  }

  #setAddress(address: HostAddress): void {
    this.#address = address
    this.#isIPv6 = isIPv6(address.host)
  }

  async #startMulticast(group: HostAddress, receive: DatagramReceiver): Promise<void> {
    const { networkInterface, multicastHops = DEFAULT_MULTICAST_HOPS } = this.#options
    const joined = multicastInterface(group, networkInterface)
    // Bound to the group's own address, so that other traffic to the port does not arrive here.
    const receiver = await this.#open(withZone(group, networkInterface), true, receive)
    receiver.addMembership(group.host, joined)
    const anywhere = isIPv6(group.host) ? '::' : '0.0.0.0'
    const unicastHost = joined !== undefined && isIPv4(joined) ? joined : anywhere
    const unicast = await this.#open({ host: unicastHost, port: 0 }, false, receive)
    if (joined !== undefined) unicast.setMulticastInterface(joined)
    unicast.setMulticastTTL(multicastHops)
    // Loopback lets several nodes on one machine hear each other; a node recognises its own datagrams.
    unicast.setMulticastLoopback(true)
    this.#unicast = unicast.socket
    this.#setAddress({ host: unicastHost, port: unicast.address().port })
  }

  async #open(
    address: HostAddress,
    isShared: boolean,
    receive: DatagramReceiver,
  ): Promise<SocketAsPromised> {
    const type: SocketType = isIPv6(address.host) ? 'udp6' : 'udp4'
    const options = { type, reuseAddr: isShared, lookup: literalLookup }
    const socket = DgramAsPromised.createSocket(options, (datagram, from) =>
      receive(datagram, { host: unmapped(from.address), port: from.port }),
    )
    socket.socket.on('error', (error) => this.#countError(error))
    this.#sockets.push(socket)
    await socket.bind({ address: address.host, port: address.port, exclusive: true })
    this.#askReceiveBuffer(socket)
    socket.socket.setSendBufferSize(SEND_BUFFER_BYTES)
    return socket
  }

  #askReceiveBuffer(socket: SocketAsPromised): void {
    socket.setRecvBufferSize(RECEIVE_BUFFER_BYTES)
    const grantedBytes = Math.floor(socket.getRecvBufferSize() / REPORTED_PER_GRANTED)
    this.stats.receiveBufferBytes = grantedBytes
    if (grantedBytes >= RECEIVE_BUFFER_BYTES) return
    this.#options.logger.warn(
      { askedBytes: RECEIVE_BUFFER_BYTES, grantedBytes },
      'replication: small receive buffer, bursts may be lost; raise net.core.rmem_max',
    )
  }

  #literalFor(to: HostAddress): string {
    return this.#isIPv6 && isIPv4(to.host) ? MAPPED_PREFIX + to.host : to.host
  }

  #countError(error: unknown): void {
    this.stats.sendErrors += 1
    this.#errorLog.warn(
      () => ({ reason: codeOf(error) ?? messageOf(error) }),
      'replication: the network refused a datagram',
    )
  }
}

async function resolveListen(listen: HostAddress): Promise<HostAddress> {
  if (isIP(listen.host) !== 0) return listen
  const answer = await lookup(listen.host)
  return { host: answer.address, port: listen.port }
}

/**
 * Adds the interface as the zone of an IPv6 group: one of link-local scope can only be bound on an interface (RFC
 * 4007).
 */
function withZone(group: HostAddress, networkInterface: string | undefined): HostAddress {
  const isZoned = group.host.includes('%')
  if (networkInterface === undefined || isZoned || !isIPv6(group.host)) return group
  return { host: `${group.host}%${networkInterface}`, port: group.port }
}

/**
 * The interface in the form that the socket calls take: for IPv4 its address, for IPv6 `::%name`. Throws when it has
 * none.
 */
function multicastInterface(group: HostAddress, given: string | undefined): string | undefined {
  if (given === undefined || isIPv4(given)) return given
  if (isIPv6(group.host)) return `::%${given}`
  const addresses = networkInterfaces()[given] ?? []
  const address = addresses.find((candidate) => candidate.family === 'IPv4')
  if (address === undefined) throw new Error(`interface ${given} has no IPv4 address`)
  return address.address
}

/** An IPv4 address in its own form, also when a socket for both versions reports it as IPv6. */
function unmapped(host: string): string {
  const inner = host.startsWith(MAPPED_PREFIX) ? host.slice(MAPPED_PREFIX.length) : ''
  return isIPv4(inner) ? inner : host
}
