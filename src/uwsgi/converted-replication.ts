// Converts the nodes of a uWSGI file: to one listener for all caches with our own wire, to one for each address
// with uWSGI's.

import { type HostAddress, isLoopback, isMulticast, parseHostAddress } from '../base/address.ts'
import { messageOf } from '../base/errors.ts'
import type { ConvertedCaches } from './converted-caches.ts'
import { type CacheSpec, toAddressText } from './ini.ts'
import type { ConversionDraft } from './options.ts'

export const WIRES = ['sealed', 'uwsgi'] as const
export type Wire = (typeof WIRES)[number]

interface Joined {
  readonly spec: CacheSpec
  readonly udp: readonly HostAddress[]
  readonly nodes: readonly HostAddress[]
}

/** Returns the section `replication` of our configuration, or undefined when no cache has nodes or a udp server. */
export function convertReplication(
  draft: ConversionDraft,
  { list }: ConvertedCaches,
  { wire, isInsecure }: { readonly wire: Wire; readonly isInsecure: boolean },
): Readonly<Record<string, unknown>> | undefined {
  const joined = list
    .map(({ spec }) => ({
      spec,
      udp: addressesOf(draft, spec, spec.udp),
      nodes: addressesOf(draft, spec, spec.nodes),
    }))
    .filter(({ udp, nodes }) => udp.length > 0 || nodes.length > 0)
  const ttl = draft.one('multicast-ttl')
  const hops = ttl && { multicast_ttl: draft.number('multicast-ttl', 1) }
  const isGroup = joined.some(({ udp }) => udp.some(({ host }) => isMulticast(host)))
  if (ttl !== undefined && !isGroup) draft.note(ttl.name, ttl.where, 'no address here is a group')
  if (joined.length === 0) return undefined
  if (wire === 'uwsgi') {
    const listeners = joined.flatMap((one) => listenersOf(draft, one, isInsecure, hops))
    return {
      listeners: listeners.map((listener, index) => {
        draft.place(['replication', 'listeners', index], listener.where)
        return listener.settings
      }),
    }
  }
  const [first, ...others] = joined
  if (first === undefined) return undefined
  checkOthers(draft, first, others)
  draft.place(['replication'], first.spec.where)
  return { ...sealed(draft, first, hops), ...(isInsecure && { insecure: true }) }
}

function sealed(draft: ConversionDraft, joined: Joined, hops: object | undefined) {
  const { spec, udp, nodes } = joined
  const group = groupOf(draft, joined)
  if (group !== undefined) return { listen: textOf(group), ...hops }
  const peers = nodes.map(textOf)
  const [server] = udp
  if (server === undefined) return { listen: anywhereFor(nodes), peers }
  const isSeveral = udp.length > 1
  if (isSeveral && udp.some(({ port }) => port !== server.port)) {
    draft.report(spec, `cache "${spec.name}" receives at several ports; here it must be one`)
  }
  // Several addresses with one port become that port on every address of the machine.
  return { listen: isSeveral ? `0.0.0.0:${server.port}` : textOf(server), peers }
}

/**
 * Returns the multicast group of a cache, or undefined when it has none. Reports a group that is not both the udp
 * server and the only node.
 */
function groupOf(draft: ConversionDraft, { spec, udp, nodes }: Joined): HostAddress | undefined {
  const groups = [...udp, ...nodes].filter(({ host }) => isMulticast(host))
  const [group] = groups
  if (group === undefined) return undefined
  const isOnly = groups.length === udp.length + nodes.length
  const isSame = groups.every((other) => textOf(other) === textOf(group))
  if (!isOnly || !isSame || udp.length === 0) {
    draft.report(
      spec,
      `cache "${spec.name}": a multicast address must be both the udp server and the only node`,
    )
  }
  return group
}

/**
 * Reports caches whose nodes are on other hosts than those of the first cache: with our own wire all caches share
 * its listener, and their own ports have no effect.
 */
function checkOthers(draft: ConversionDraft, first: Joined, others: readonly Joined[]): void {
  const hosts = hostsOf(first.nodes)
  for (const { spec, nodes } of others) {
    if (hostsOf(nodes) !== hosts) {
      draft.report(
        spec,
        `cache "${spec.name}" has other nodes than "${first.spec.name}"; here all caches have the same`,
      )
      continue
    }
    const why = `all caches go through the address of "${first.spec.name}"`
    draft.note(`udp of cache "${spec.name}"`, spec.where, why)
  }
}

function listenersOf(
  draft: ConversionDraft,
  joined: Joined,
  isInsecure: boolean,
  hops: object | undefined,
) {
  const { spec, udp, nodes } = joined
  const cache = spec.name
  const shared = { wire: 'uwsgi', cache, ...(isInsecure && { insecure: true }) }
  const group = groupOf(draft, joined)
  const peers = nodes.map(textOf)
  const settings =
    group !== undefined
      ? [{ ...shared, listen: textOf(group), ...hops }]
      : (udp.length === 0 ? [anywhereFor(nodes)] : udp.map(textOf)).map((listen, index) =>
          // Only the first listener has peers, so that each change is sent once.
          index === 0 ? { ...shared, listen, peers } : { ...shared, listen },
        )
  return settings.map((one) => ({ settings: one, where: spec.where }))
}

/** Returns the address to bind when a cache only sends: any free port, on loopback when all its nodes are there. */
function anywhereFor(nodes: readonly HostAddress[]): string {
  return nodes.every(isLoopback) ? '127.0.0.1:0' : '0.0.0.0:0'
}

function addressesOf(
  draft: ConversionDraft,
  spec: CacheSpec,
  names: readonly string[],
): readonly HostAddress[] {
  return names
    .toSorted()
    .filter((name, index, all) => all.indexOf(name) === index)
    .flatMap((name) => {
      try {
        return [parseHostAddress(toAddressText(name))]
      } catch (error) {
        draft.report(spec, messageOf(error))
        return []
      }
    })
}

function hostsOf(nodes: readonly HostAddress[]): string {
  return [...new Set(nodes.map(({ host }) => host))].toSorted().join()
}

function textOf({ host, port }: HostAddress): string {
  return `${host}:${port}`
}
