// The servers that are to be proved: each address of a name is a server of its own.

import type { LookupAddress } from 'node:dns'
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { formatAddress, type HostAddress, isSameAddress } from '../base/address.ts'
import { messageOf, TlscachedError } from '../base/errors.ts'
import { STARTTLS_PORTS, type StartTlsProtocol } from '../tls-client/starttls.ts'

/** Most servers of one run: everything that is made on one is offered to all. */
export const MAX_SERVERS = 64
const HTTPS_PORT = 443

export interface Target {
  /** Host name or IP address of the target, as the caller wrote it, without the port. */
  readonly host: string
  readonly port: number
}

export interface Server {
  readonly address: HostAddress
  /** How the report calls it: its address with the port. */
  readonly name: string
}

/** All addresses of a name, of both families, as the system resolves it. */
export type Resolve = (host: string) => Promise<readonly Pick<LookupAddress, 'address'>[]>

export const systemResolve: Resolve = (host) => lookup(host, { all: true, order: 'verbatim' })

/** Parses `HOST`, `HOST:PORT`, `[V6]`, `[V6]:PORT` or a bare IPv6 address. Throws ERR_ADDRESS. */
export function parseTarget(text: string, protocol?: StartTlsProtocol): Target {
  const usualPort = protocol === undefined ? HTTPS_PORT : STARTTLS_PORTS[protocol]
  if (isIP(text) === 6) return { host: text, port: usualPort }
  const [, bracketed, plain, digits] =
    /^(?:\[([^\]]+)\]|([^\s:/[\]]+))(?::(\d{1,5}))?$/.exec(text) ?? []
  const host = bracketed ?? plain
  const port = digits === undefined ? usualPort : Number(digits)
  const isBracketWrong = bracketed !== undefined && isIP(bracketed) !== 6
  if (host === undefined || isBracketWrong || port < 1 || port > 65_535) {
    throw new TlscachedError(
      'ERR_ADDRESS',
      `"${text}" is not HOST, HOST:PORT, [IPV6] or [IPV6]:PORT with a port of 1..65535`,
    )
  }
  return { host, port }
}

/**
 * Resolves targets to servers, in their order and each only once. Throws ERR_UNREACHABLE for a name without an address
 * and ERR_USAGE for more than MAX_SERVERS.
 */
export async function resolveServers(
  targets: readonly Target[],
  resolve: Resolve,
): Promise<readonly Server[]> {
  const servers: Server[] = []
  for (const { host, port } of targets) {
    for (const address of await addressesOf(host, port, resolve)) {
      if (servers.some((known) => isSameAddress(known.address, address))) continue
      servers.push({ address, name: formatAddress(address) })
    }
  }
  if (servers.length <= MAX_SERVERS) return servers
  throw new TlscachedError(
    'ERR_USAGE',
    `${servers.length} servers: at most ${MAX_SERVERS} can be proved at once`,
  )
}

/** The server name that all handshakes carry: the first target that is a name, since one service has one name. */
export function serverNameOf(targets: readonly Target[]): string | undefined {
  return targets.find(({ host }) => isIP(host) === 0)?.host
}

async function addressesOf(host: string, port: number, resolve: Resolve): Promise<HostAddress[]> {
  if (isIP(host) !== 0) return [{ host, port }]
  const found = await resolve(host).catch((error: unknown) => {
    throw new TlscachedError(
      'ERR_UNREACHABLE',
      `cannot resolve the name ${host}: ${messageOf(error)}`,
    )
  })
  if (found.length === 0) throw new TlscachedError('ERR_UNREACHABLE', `${host} has no address`)
  return found.map(({ address }) => ({ host: address, port }))
}
