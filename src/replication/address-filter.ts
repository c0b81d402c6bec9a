// Addresses that this node does not send to: its own, and those of an IP version that its socket does not have.

import { isIP, isIPv4 } from 'node:net'
import { networkInterfaces } from 'node:os'
import { type HostAddress, isLoopback } from '../base/address.ts'

/** Returns the literal addresses of all network interfaces of this machine. */
export type InterfaceAddresses = () => readonly string[]

let lastKnown: readonly string[] = []

/**
 * Returns the last known addresses when the system call fails: it needs a file descriptor and there may be none left.
 */
export const systemInterfaceAddresses: InterfaceAddresses = () => {
  try {
    const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? [])
    lastKnown = all.map(({ address }) => address)
  } catch {
    return lastKnown
  }
  return lastKnown
}

/**
 * Whether an address leads to this node, which receives at `bound`; a wildcard there stands for all addresses of the
 * machine.
 */
export function isOwnAddress(
  address: HostAddress,
  bound: HostAddress,
  interfaceAddresses: InterfaceAddresses,
): boolean {
  if (address.port !== bound.port) return false
  if (address.host === bound.host) return true
  if (bound.host !== '::' && bound.host !== '0.0.0.0') return false
  return isLoopback(address) || interfaceAddresses().includes(address.host)
}

/**
 * Whether a socket bound to `bound` can send to the address: on `::` it reaches both IP versions. A name in `bound` is
 * not judged.
 */
export function isReachable(address: HostAddress, bound: HostAddress): boolean {
  return (
    bound.host === '::' || isIPv4(address.host) === isIPv4(bound.host) || isIP(bound.host) === 0
  )
}
