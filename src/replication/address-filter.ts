// Which addresses there is no use in sending to: this node's own, and those of the wrong IP version.

import { isIP, isIPv4 } from 'node:net'
import { networkInterfaces } from 'node:os'
import { type HostAddress, isLoopback } from '../base/address.ts'

/** The literal addresses of this machine. */
export type InterfaceAddresses = () => readonly string[]

let lastKnown: readonly string[] = []

/** As last told, while the system tells nothing: it needs a file descriptor for that, and may have none left. */
export const systemInterfaceAddresses: InterfaceAddresses = () => {
  try {
    const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? [])
    lastKnown = all.map(({ address }) => address)
  } catch {
    return lastKnown
  }
  return lastKnown
}

/** `bound` is where this node receives; a wildcard address stands for all of the machine's. */
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

/** Whether a socket bound there can send to the address: one on `::` reaches both IP versions. */
export function isReachable(address: HostAddress, bound: HostAddress): boolean {
  return (
    bound.host === '::' || isIPv4(address.host) === isIPv4(bound.host) || isIP(bound.host) === 0
  )
}
