// The nodes of a uWSGI file: in our own wire one listener for all caches, in theirs one for each address.

import { type HostAddress, isLoopback, isMulticast, parseHostAddress } from '../base/address.ts'
import { messageOf } from '../base/errors.ts'
import type { CacheSpec } from './cache-spec.ts'
import type { ConversionDraft } from './conversion.ts'
import type { ConvertedCaches } from './converted-caches.ts'
import { toAddressText } from './socket-name.ts'

export const WIRES = ['sealed', 'uwsgi'] as const
export type Wire = (typeof WIRES)[number]

interface Joined {
  readonly spec: CacheSpec
  readonly udp: readonly HostAddress[]
  readonly nodes: readonly HostAddress[]
}

/** As the section of our own file; undefined when the file has no nodes. */
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
  // On several addresses with one port: on that port of every address.
  return { listen: isSeveral ? `0.0.0.0:${server.port}` : textOf(server), peers }
}

/** A group must be where it sends and where it receives, as the only one. */
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

/** Caches with ports of their own share the first one's listener here, if their nodes are the same hosts. */
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
          // Each change goes out once.
          index === 0 ? { ...shared, listen, peers } : { ...shared, listen },
        )
  return settings.map((one) => ({ settings: one, where: spec.where }))
}

/** For a node that only sends. */
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
