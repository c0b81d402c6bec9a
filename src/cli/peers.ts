// `tlscached peers`: shows the peers of a node, and how well it replicates with each.

import { Command } from 'commander'
import type { Address } from '../base/address.ts'
import { askPeers, formatReadiness, type PeersAnswer } from './answers.ts'
import { httpOption } from './node-client.ts'
import { formatTable } from './tables.ts'

export function peersCommand(): Command {
  return new Command('peers')
    .description('Show the nodes that a node replicates with.')
    .addOption(httpOption())
    .option('--json', 'print the document of GET /v1/peers')
    .action(peers)
}

async function peers(options: { readonly http: Address; readonly json?: boolean }): Promise<void> {
  const answer = await askPeers(options.http)
  if (options.json) console.log(JSON.stringify(answer))
  else if (answer.replication === null && answer.peers.length === 0) {
    console.log('this node does not replicate')
  } else console.log(formatPeers(answer))
}

const HEAD = [
  'peer',
  'address',
  'state',
  'seen ms ago',
  'lag ms',
  'clock ms',
  'sent',
  'received',
  'lost',
  'repaired',
  'sync',
  'ms ago',
]

function formatPeers({ peers: all, ...node }: PeersAnswer): string {
  const rows = all.map((peer) => [
    peer.name === '' ? '?' : peer.name,
    peer.address,
    stateOf(peer),
    peer.last_seen_ms ?? '-',
    peer.lag_ms ?? '-',
    peer.clock_difference_ms ?? '-',
    peer.entries_sent,
    peer.entries_received,
    peer.lost,
    peer.repaired,
    peer.sync?.state ?? '-',
    peer.sync?.last_synced_ms ?? '-',
  ])
  return formatTable(HEAD, rows) + formatReadiness(node)
}

function stateOf(peer: PeersAnswer['peers'][number]): string {
  if (peer.up) return inRole(peer, 'up')
  // A peer without a name has not answered at its address yet.
  if (peer.name === '') return inRole(peer, 'not heard')
  return inRole(peer, peer.verified ? 'silent' : 'gone')
}

function inRole(peer: PeersAnswer['peers'][number], state: string): string {
  return peer.role === 'node' ? state : `${peer.role}, ${state}`
}
