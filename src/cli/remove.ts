// `tlscached remove`: removes a session from a node and, by replication, from all others.

import type { Command } from 'commander'
import { askNode, sessionPath } from './node-client.ts'
import { contextQuery, type SessionOptions, sessionCommand } from './session-options.ts'

export function removeCommand(): Command {
  return sessionCommand('remove')
    .description('Take a session out, on every node.')
    .option('--json', 'print {"removed":true}')
    .action(remove)
}

async function remove(id: string, options: SessionOptions): Promise<void> {
  await askNode(options.http, {
    method: 'DELETE',
    path: sessionPath(options.cache, id),
    query: contextQuery(options),
  })
  if (options.json) console.log(JSON.stringify({ removed: true }))
}
