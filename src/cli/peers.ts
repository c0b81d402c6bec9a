// `tlscached peers`: who replicates with a node, and how well.

import { Command } from 'commander'
import type { Address } from '../base/address.ts'
import { askPeers, type PeersAnswer } from './answers.ts'
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

function formatPeers({ peers: all, sync }: PeersAnswer): string {
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
  const table = formatTable(HEAD, rows)
  return sync === null ? table : `${table}\n${formatSync(sync)}`
}

function stateOf(peer: PeersAnswer['peers'][number]): string {
  const state = peer.up ? 'up' : peer.verified ? 'silent' : 'not heard'
  return peer.role === 'node' ? state : `${peer.role}, ${state}`
}

function formatSync({ state, peer, last_synced_ms }: NonNullable<PeersAnswer['sync']>): string {
  const whom = peer === '' ? '' : `, last with ${peer}`
  const when = last_synced_ms === null ? '' : ` ${last_synced_ms} ms ago`
  return `this node is ${state}${whom}${when}`
}
