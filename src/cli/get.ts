// `tlscached get`: reads a session from a node.

import { closeSync, fchmodSync, fstatSync, openSync, writeFileSync } from 'node:fs'
import type { Command } from 'commander'
import { askNode, sessionPath } from './node-client.ts'
import { contextQuery, type SessionOptions, sessionCommand } from './session-options.ts'

const OWNER_ONLY = 0o600

interface GetOptions extends SessionOptions {
  readonly serverName?: string
  readonly out?: string
}

export function getCommand(): Command {
  return sessionCommand('get')
    .description('Read a session: its octets go to standard output, or to a file.')
    .option('--server-name <name>', 'server name (SNI) it must have been made under')
    .option('--out <file>', 'write the octets there; only the owner can read the file')
    .option('--json', 'print {"id":..,"cache":..,"ttl_seconds":..,"session":"base64"}')
    .action(get)
}

async function get(id: string, options: GetOptions): Promise<void> {
  const { http, cache, serverName } = options
  const { headers, body } = await askNode(http, {
    path: sessionPath(cache, id),
    query: { ...contextQuery(options), server_name: serverName },
  })
  if (options.out !== undefined) writeForOwner(options.out, body)
  if (options.json) {
    const session = options.out === undefined ? { session: body.toString('base64') } : {}
    const ttlSeconds = Number(headers['x-session-ttl'])
    console.log(JSON.stringify({ id, cache, ttl_seconds: ttlSeconds, ...session }))
  } else if (options.out === undefined) process.stdout.write(body)
}

/** Writes a file that only its owner can read. An existing file gets these permissions before the octets are in it. */
function writeForOwner(path: string, octets: Buffer): void {
  const descriptor = openSync(path, 'w', OWNER_ONLY)
  try {
    // The permissions of a device such as /dev/null stay: everybody needs them.
    if (fstatSync(descriptor).isFile()) fchmodSync(descriptor, OWNER_ONLY)
    writeFileSync(descriptor, octets)
  } finally {
    closeSync(descriptor)
  }
}
