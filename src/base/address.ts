// Where things listen: `host:port`, `[v6]:port` or `unix:/path`, and what kind of address that is.

import { BlockList, isIP } from 'node:net'
import { TlscachedError } from './errors.ts'

/** A host and a port. `host` is a literal IP address (IPv6 without brackets) or a name; `*` is parsed to `::`. */
export interface HostAddress {
  readonly host: string
  readonly port: number
}

export interface UnixAddress {
  readonly path: string
}

export type Address = HostAddress | UnixAddress

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

const multicast = new BlockList()
multicast.addSubnet('224.0.0.0', 4, 'ipv4')
multicast.addSubnet('ff00::', 8, 'ipv6')

/** Longest path of a Unix socket on Linux, sun_path without its closing zero (unix(7)). */
export const MAX_UNIX_PATH_BYTES = 107

/** Parses `host:port`, `[v6]:port` or `unix:/path`. Port 0 lets the kernel choose a port. Throws ERR_ADDRESS. */
export function parseAddress(text: string): Address {
  if (text.startsWith('/')) {
    throw new TlscachedError('ERR_ADDRESS', `"${text}" is a path: write unix:${text} for a socket`)
  }
  if (!text.startsWith('unix:')) return parseHostAddress(text)
  const path = text.slice('unix:'.length)
  if (!path.startsWith('/') || Buffer.byteLength(path) > MAX_UNIX_PATH_BYTES) {
    throw new TlscachedError(
      'ERR_ADDRESS',
      `"${text}" is not unix:/path with at most ${MAX_UNIX_PATH_BYTES} bytes`,
    )
  }
  return { path }
}

/** Parses `host:port` or `[v6]:port`; `*:port` means every address of the machine. Throws ERR_ADDRESS. */
export function parseHostAddress(text: string): HostAddress {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text)
  const port = Number(match?.[3])
  const bracketed = match?.[1]
  const host = bracketed ?? match?.[2]
  const isBracketWrong = bracketed !== undefined && isIP(bracketed) !== 6
  if (host === undefined || isBracketWrong || port > 65_535) {
    throw new TlscachedError('ERR_ADDRESS', `"${text}" is not host:port or [ipv6]:port`)
  }
  return { host: host === '*' ? '::' : host, port }
}

/** A range of IP addresses: those that have the first `prefixBits` bits in common with `host`. */
export interface Subnet {
  readonly host: string
  readonly prefixBits: number
}

/** Parses `192.0.2.0/24`, `2001:db8::/32`, or a single address without a prefix length. Throws ERR_ADDRESS. */
export function parseSubnet(text: string): Subnet {
  const [, host = '', bits] = /^([\d.]+|[\da-f:.]+)(?:\/(\d{1,3}))?$/i.exec(text) ?? []
  const family = isIP(host)
  const mostBits = family === 6 ? 128 : 32
  const prefixBits = bits === undefined ? mostBits : Number(bits)
  if (family === 0 || prefixBits > mostBits) {
    throw new TlscachedError(
      'ERR_ADDRESS',
      `"${text}" is not an IP address with a prefix length, as in 192.0.2.0/24 or 2001:db8::/32`,
    )
  }
  return { host, prefixBits }
}

/** Returns a test for literal IP addresses in one of the ranges; an IPv4 address mapped into IPv6 counts as IPv4. */
export function createAddressMatcher(subnets: readonly Subnet[]): (host: string) => boolean {
  const list = new BlockList()
  for (const { host, prefixBits } of subnets) {
    list.addSubnet(host, prefixBits, isIP(host) === 6 ? 'ipv6' : 'ipv4')
  }
  return (host) => isInList(list, host)
}

export function formatAddress(address: Address): string {
  if ('path' in address) return `unix:${address.path}`
  return isIP(address.host) === 6
    ? `[${address.host}]:${address.port}`
    : `${address.host}:${address.port}`
}

/**
 * The `lookup` of a UDP socket that is given literal addresses only. It answers at once: the lookup of Node.js would
 * delay every datagram to the next tick.
 */
export function literalLookup(
  host: string,
  _options: unknown,
  answer: (error: null, host: string, family: number) => void,
): void {
  answer(null, host, isIP(host))
}

/** Whether both name one host and port in the same spelling; addresses that a socket reports have one spelling each. */
export function isSameAddress(a: HostAddress, b: HostAddress): boolean {
  return a.port === b.port && a.host === b.host
}

/** Whether what is sent to the address stays on this machine. `localhost` is the only host name that counts as such. */
export function isLoopback(address: Address): boolean {
  if ('path' in address || address.host === 'localhost') return true
  return isInList(loopback, address.host)
}

export function isMulticast(host: string): boolean {
  return isInList(multicast, host)
}

function isInList(list: BlockList, host: string): boolean {
  const literal = host.replace(/%.*$/, '')
  const family = isIP(literal)
  return family !== 0 && list.check(literal, family === 6 ? 'ipv6' : 'ipv4')
}
