// Whether a node and its peers reach each other: ports, keys, path MTU and clocks, by what the running node has heard and
// by what is tried here.

import { isIPv6 } from 'node:net'
import {
  formatAddress,
  type HostAddress,
  isLoopback,
  isMulticast,
  parseHostAddress,
} from '../base/address.ts'
import type { ReplicationConfig } from '../node/config.ts'
import { formatKeyId, type Keyring } from '../wire/keyring.ts'
import { type Finding, findingsAbout } from './finding.ts'
import type { Probes, Reach } from './probes.ts'

/** Peers that are tried; a list may have more. */
const MAX_PEERS = 64
/** Keys of a ring that are tried on each peer; a rotation has two. */
const MAX_KEYS = 4
/** Bytes in front of a datagram: header of UDP, and of IPv4 or IPv6. */
const IPV4_OVERHEAD_BYTES = 28
const IPV6_OVERHEAD_BYTES = 48
/** Clocks that differ by more than this share of the shortest lifetime cost sessions. */
const CLOCK_SHARE = 0.1

/** A peer as GET /v1/peers of the running node lists it. */
export interface HeardPeer {
  readonly role: string
  readonly name: string
  readonly address: string
  readonly up: boolean
  readonly last_seen_ms: number | null
  readonly clock_difference_ms: number | null
  readonly lost: number
  readonly sync: { readonly state: string } | null
}

/** What a peer says of this node. */
export type PeerView = Pick<HeardPeer, 'up' | 'sync'>

export interface PeerFacts {
  readonly replication: ReplicationConfig
  /** Undefined when no node answers here. */
  readonly heard: readonly HeardPeer[] | undefined
  /** What peers say of this node, by their names. */
  readonly views: ReadonlyMap<string, PeerView>
  /** Undefined when there are no keys or this user cannot read them. */
  readonly keyring: Keyring | undefined
  /** Shortest `timeout` of the caches. */
  readonly lifetimeMs: number
  readonly probes: Probes
}

interface Peer {
  readonly shown: string
  readonly address: HostAddress
  readonly isRepeater: boolean
  /** Undefined when no node answers here. */
  readonly heard: HeardPeer | undefined
}

export async function peerFindings(facts: PeerFacts): Promise<readonly Finding[]> {
  const peers = await listPeers(facts)
  const { warning } = findingsAbout('peers')
  if (peers.length === 0) {
    const fix = 'list the other nodes in replication.peers, or look for the reason in /readyz'
    return [warning('no peer is known, so this node shares with nobody', fix)]
  }
  const examined = peers.slice(0, MAX_PEERS)
  const found = await Promise.all(examined.map((peer) => examine(facts, peer)))
  const more = peers.length - examined.length
  const left = more > 0 ? [warning(`${more} more peers were not tried`, 'run doctor there')] : []
  return [...found.flat(), ...left]
}

/** Lists the peers that the running node knows, or else those of the configuration. */
async function listPeers({ replication, heard, probes }: PeerFacts): Promise<readonly Peer[]> {
  if (heard !== undefined) {
    // A peer that was started again is also listed with its earlier boot, which never speaks again.
    // A listed address that was heard a moment ago is also listed without a name.
    const up = heard.filter((peer) => peer.up)
    const names = new Set(up.map(({ name }) => name))
    const addresses = new Set(up.map(({ address }) => address))
    const present = heard.filter(
      (peer) => peer.up || !(names.has(peer.name) || addresses.has(peer.address)),
    )
    return present.map((peer) => ({
      shown: peer.name === '' ? peer.address : `${peer.name} (${peer.address})`,
      address: parseHostAddress(peer.address),
      isRepeater: peer.role === 'repeater',
      heard: peer,
    }))
  }
  const listed = async (sources: ReplicationConfig['peers'], isRepeater: boolean) => {
    const all = sources.flatMap((source) => ('host' in source ? [source] : []))
    const found = await Promise.all(
      all.map(async ({ host, port }) => {
        const hosts = await probes.resolve(host)
        return hosts.map((one) => ({ shown: formatAddress({ host: one, port }), host: one, port }))
      }),
    )
    return found.flat().map(({ shown, host, port }) => {
      return { shown, address: { host, port }, isRepeater, heard: undefined }
    })
  }
  return [
    ...(await listed(replication.peers, false)),
    ...(await listed(replication.repeaters, true)),
  ]
}

async function examine(facts: PeerFacts, peer: Peer): Promise<readonly Finding[]> {
  const { reach, findings } = await tryTcp(facts, peer)
  return [
    ...(await reachFindings(facts, peer, reach)),
    ...findings,
    ...clockFindings(facts, peer),
    ...(await pathFindings(facts, peer)),
  ]
}

/** Tries each key in a handshake, or only the port where there are none; `reach` is undefined where TCP is not used. */
async function tryTcp(
  { replication, probes, keyring }: PeerFacts,
  { shown, address, isRepeater }: Peer,
): Promise<{ readonly reach: Reach | undefined; readonly findings: readonly Finding[] }> {
  // The port for TCP of a peer in a multicast group is another one, which only its greetings tell.
  if (isRepeater || isMulticast(replication.listen.host)) return { reach: undefined, findings: [] }
  if (keyring === undefined) return { reach: await probes.tcp(address), findings: [] }
  const { ok, warning, error } = findingsAbout('keys')
  const [first, ...others] = keyring.keyIds.slice(0, MAX_KEYS)
  if (first === undefined) return { reach: undefined, findings: [] }
  const answer = await probes.key(address, keyring, first)
  const isOpen = answer === 'has' || answer === 'lacks' || answer === 'no_node'
  if (!isOpen) return { reach: answer, findings: [] }
  const open = (finding: Finding) => ({ reach: 'open' as const, findings: [finding] })
  if (answer === 'no_node') {
    const message = `${shown}: what listens for TCP there does not answer as a node`
    return open(error(message, `ss -lntp 'sport = :${address.port}' on that machine`))
  }
  const fix =
    'copy the file of keys of one node to all others; tlscached doctor there shows its keys'
  if (answer === 'lacks') {
    const message = `${shown} lacks the key ${formatKeyId(first)}, which this node seals with`
    return open(error(`${message}: it takes nothing from here`, fix))
  }
  const missing: string[] = []
  for (const id of others) {
    if ((await probes.key(address, keyring, id)) !== 'has') missing.push(formatKeyId(id))
  }
  if (missing.length === 0) return open(ok(`${shown} has the same keys`))
  const message = `${shown} lacks the key ${missing.join(', ')}: a change of keys stopped half-way`
  return open(warning(message, fix))
}

async function reachFindings(
  { probes, views }: PeerFacts,
  { shown, address, isRepeater, heard }: Peer,
  reach: Reach | undefined,
): Promise<readonly Finding[]> {
  const { ok, warning, error } = findingsAbout('peers')
  const { port } = address
  const firewall = `let UDP ${isRepeater ? '' : 'and TCP '}port ${port} pass between the nodes, both ways`
  if (heard?.up) {
    const found: Finding[] = []
    if (reach === undefined || reach === 'open') {
      const back = isRepeater ? undefined : views.get(heard.name)
      const there = back?.sync?.state === 'synced' ? ' and from there' : ''
      const tcp = reach === 'open' ? `, TCP from here${there}` : ''
      found.push(ok(`${shown}: UDP works both ways${tcp}`))
      found.push(...backFindings(shown, back))
    } else {
      found.push(error(`${shown}: UDP works both ways, TCP port ${port} is ${reach}`, firewall))
    }
    if (heard.lost > 0) {
      const lost = `${shown}: ${heard.lost} datagrams were lost and could not be repaired at once`
      found.push(warning(lost, 'tlscached stats shows drops; compare receive buffers and load'))
    }
    if (heard.sync?.state === 'failed') {
      const failed = `${shown}: the last copy or comparison over TCP broke off`
      found.push(warning(failed, 'the log of both nodes says why'))
    }
    return found
  }
  const udp = await probes.udp(address)
  if (heard === undefined) {
    if (udp === 'refused' || reach === 'refused') {
      return [error(`${shown}: no node listens there`, `start it there, or correct the address`)]
    }
    if (reach === 'open')
      return [ok(`${shown}: TCP from here works; UDP is seen by a running node`)]
    if (reach === undefined) return []
    return [error(`${shown}: TCP port ${port} is ${reach}`, firewall)]
  }
  const seconds = heard.last_seen_ms === null ? undefined : Math.round(heard.last_seen_ms / 1000)
  const since = seconds === undefined ? 'was never heard' : `has been silent for ${seconds} s`
  if (udp === 'refused' || reach === 'refused') {
    return [error(`${shown} ${since}: its machine is there, no node listens`, 'start it there')]
  }
  if (reach === 'open') {
    return [
      error(
        `${shown} ${since}, although TCP reaches it: UDP does not pass, or it has other keys`,
        `${firewall}; and see what is said of its keys`,
      ),
    ]
  }
  return [error(`${shown} ${since}, and TCP port ${port} is ${reach ?? 'not tried'}`, firewall)]
}

/** What the peer itself says of this node, where that is other than what this node hears. */
function backFindings(shown: string, back: PeerView | undefined): readonly Finding[] {
  const { error, warning } = findingsAbout('peers')
  const open = 'let UDP and TCP at replication.listen of this node pass from there'
  if (back?.up === false) {
    return [error(`${shown} is heard, and says that it does not hear this node`, open)]
  }
  if (back?.sync?.state !== 'failed') return []
  return [warning(`${shown} says that comparing with this node over TCP broke off`, open)]
}

function clockFindings({ lifetimeMs }: PeerFacts, { shown, heard }: Peer): readonly Finding[] {
  const difference = heard?.clock_difference_ms ?? undefined
  if (difference === undefined || heard?.role !== 'node') return []
  const { ok, warning, error } = findingsAbout('clock')
  const offMs = Math.abs(difference)
  const seconds = (offMs / 1000).toFixed(1)
  const fix = 'chronyc tracking, or timedatectl, on both machines'
  const what = `the clock of ${shown} is ${seconds} s ${difference > 0 ? 'ahead' : 'behind'}`
  if (offMs >= lifetimeMs) {
    return [error(`${what}: its terminator takes every session from here for expired`, fix)]
  }
  if (offMs >= lifetimeMs * CLOCK_SHARE) {
    return [warning(`${what}: sessions live as much shorter on one of both sides`, fix)]
  }
  return [ok(`the clock of ${shown} is ${seconds} s off`)]
}

/** Looks how large a datagram passes to a peer whole: what the kernel knows of the route, and a ping that may not split. */
async function pathFindings({ replication, probes }: PeerFacts, { shown, address }: Peer) {
  const { ok, warning } = findingsAbout('path')
  if (isLoopback(address)) return []
  const v6 = isIPv6(address.host)
  const overhead = v6 ? IPV6_OVERHEAD_BYTES : IPV4_OVERHEAD_BYTES
  const asked = replication.maxDatagramBytes
  const route = await probes.run('ip', ['-o', 'route', 'get', address.host])
  const device = /\bdev (\S+)/.exec(route ?? '')?.[1]
  const link =
    device === undefined ? undefined : await probes.run('ip', ['-o', 'link', 'show', device])
  const ping = await probes.run('ping', [
    ...['-c', '1', '-W', '1', '-M', 'do', '-s', String(asked), address.host],
  ])
  const known = [route, link, ping].flatMap((text) => {
    const mtu = /\bmtu ?=? ?(\d+)/.exec(text ?? '')?.[1]
    return mtu === undefined ? [] : [Number(mtu)]
  })
  if (known.length === 0) return []
  const mtu = Math.min(...known)
  const room = mtu - overhead
  if (room >= asked) return [ok(`${shown}: datagrams of ${asked} bytes pass (MTU ${mtu})`)]
  return [
    warning(
      `${shown}: the path has an MTU of ${mtu}, so datagrams of ${asked} bytes travel in fragments or pieces`,
      `replication.max_datagram: ${room} on every node, or mend the MTU of the path`,
    ),
  ]
}
