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
  else if (answer.replication === null) console.log('this node does not replicate')
  else console.log(formatPeers(answer))
}

function formatPeers({ peers: all }: PeersAnswer): string {
  const head = ['peer', 'address', 'state', 'seen ms ago', 'lag ms', 'clock ms', 'sent', 'received']
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
  ])
  return formatTable([...head, 'lost', 'repaired'], rows)
}

function stateOf(peer: PeersAnswer['peers'][number]): string {
  if (peer.up) return 'up'
  return peer.verified ? 'silent' : 'not heard'
}
