// `tlscached put`: stores a session on a node and, by replication, on all others.

import { readFile } from 'node:fs/promises'
import { buffer } from 'node:stream/consumers'
import type { Command } from 'commander'
import { askNode, sessionPath } from './node-client.ts'
import { contextQuery, type SessionOptions, sessionCommand } from './session-options.ts'

interface PutOptions extends SessionOptions {
  readonly serverName?: string
  readonly ttl?: string
}

export function putCommand(): Command {
  return sessionCommand('put')
    .description('Store a session, read from a file or from standard input.')
    .argument('[file]', 'file with the octets of the session; none or - is standard input')
    .option('--server-name <name>', 'server name (SNI) it was made under')
    .option('--ttl <seconds>', 'lifetime to ask for')
    .option('--json', 'print {"result":..}')
    .action(put)
}

async function put(id: string, file: string | undefined, options: PutOptions): Promise<void> {
  const isStandardInput = file === undefined || file === '-'
  const answer = await askNode(options.http, {
    method: 'PUT',
    path: sessionPath(options.cache, id),
    query: { ...contextQuery(options), server_name: options.serverName, ttl: options.ttl },
    body: isStandardInput ? await buffer(process.stdin) : await readFile(file),
  })
  if (options.json) console.log(answer.body.toString())
}
