// `tlscached get`, `put` and `remove`: read, store and take out one session of a node.

import { closeSync, fchmodSync, fstatSync, openSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { buffer } from 'node:stream/consumers'
import { Command, InvalidArgumentError, Option } from 'commander'
import type { Address } from '../base/address.ts'
import { parseHex } from '../base/bytes.ts'
import { messageOf } from '../base/errors.ts'
import { askNode, sessionPath } from '../base/node-client.ts'
import { httpOption } from './http-option.ts'

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

// The options that get, put and remove have in common: the session and the node.

interface SessionOptions {
  readonly http: Address
  readonly cache: string
  readonly context?: string
  readonly contextHex?: string
  readonly json?: boolean
}

function sessionCommand(name: string): Command {
  return new Command(name)
    .argument('<id>', 'session ID in hex', hex)
    .addOption(httpOption())
    .option('--cache <name>', 'name of the cache', 'ssl')
    .addOption(new Option('--context <text>', 'session ID context').conflicts('contextHex'))
    .option('--context-hex <hex>', 'session ID context in hex', hex)
}

function contextQuery({ context, contextHex }: SessionOptions) {
  return { context, context_hex: contextHex }
}

function hex(text: string): string {
  try {
    return parseHex(text).toString('hex')
  } catch (error) {
    throw new InvalidArgumentError(messageOf(error))
  }
}
