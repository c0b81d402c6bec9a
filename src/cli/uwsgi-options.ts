// The options for a file of uWSGI in place of our own, and the conversion of that file.

import { statSync } from 'node:fs'
import { hostname } from 'node:os'
import { type Command, Option } from 'commander'
import { messageOf, TlscachedError } from '../base/errors.ts'
import { readRegularFile } from '../base/regular-file.ts'
import { nearest } from '../settings/errors.ts'
import type { ConvertedConfig } from '../settings/sources.ts'
import { type Conversion, convert } from '../uwsgi/conversion.ts'
import { WIRES, type Wire } from '../uwsgi/converted-replication.ts'
import { parseIni } from '../uwsgi/ini.ts'

const GROUP = 'With a file of uWSGI:'
/** Address at which the terminator of a converted file reaches its node, unless `serve` chooses one. */
export const DEFAULT_RPC_ADDRESS = 'unix:/run/tlscached/rpc.sock'
/** Largest file that is read; a file of options has a few kilobytes. */
const MAX_FILE_BYTES = 1024 * 1024

export interface UwsgiOptions {
  readonly uwsgi?: string
  readonly keysFile?: string
  readonly insecure?: boolean
  readonly wire?: Wire
}

export function addUwsgiOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--uwsgi <file>', 'ini file of uWSGI, in place of a YAML file').helpGroup(GROUP),
    )
    .addOption(
      new Option(
        '--keys-file <file>',
        'file of keys for its nodes; needed beyond loopback (replication.keys_file)',
      ).helpGroup(GROUP),
    )
    .addOption(insecureOption().helpGroup(GROUP))
    .addOption(wireOption().helpGroup(GROUP))
}

export function insecureOption(): Option {
  return new Option('--insecure', 'send sessions in clear beyond loopback all the same')
}

export function wireOption(): Option {
  return new Option(
    '--wire <wire>',
    'between its nodes: our own, or that of uWSGI, which is in clear',
  ).choices(WIRES)
}

/** Returns the converted file, or undefined when none was named. Throws ERR_USAGE. */
export function readUwsgiFile(
  options: UwsgiOptions,
  rpcAddress = DEFAULT_RPC_ADDRESS,
): Conversion | undefined {
  const { uwsgi: file, keysFile, insecure, wire } = options
  if (file !== undefined) return convertFile(file, { ...options, rpcAddress })
  const idle = { '--keys-file': keysFile, '--insecure': insecure, '--wire': wire }
  for (const [flag, value] of Object.entries(idle)) {
    if (value !== undefined) throw new TlscachedError('ERR_USAGE', `${flag} is only for --uwsgi`)
  }
  return undefined
}

/** Converts a file; its problems are part of the result. Throws ERR_USAGE only when the file cannot be read. */
export function convertFile(
  file: string,
  options: UwsgiOptions & { readonly rpcAddress?: string },
): Conversion {
  return convert(parseIni(readText(file), file), {
    wire: options.wire ?? 'sealed',
    isInsecure: options.insecure ?? false,
    rpcAddress: options.rpcAddress ?? DEFAULT_RPC_ADDRESS,
    machine: { hostName: hostname(), environment: (name) => process.env[name], kindOf },
    nearest,
  })
}

/** Returns the command-line options that apply to the converted file, as values by the key of their setting. */
export function uwsgiFlags(options: UwsgiOptions, { config }: Conversion): Map<string, string> {
  const flags = new Map<string, string>()
  const { keysFile, insecure } = options
  if (insecure) flags.set('frontends.insecure', 'true')
  const { replication } = config
  // Keys are only for replication with nodes of our own.
  const isSealed =
    typeof replication === 'object' && replication !== null && 'listen' in replication
  if (!isSealed) return flags
  if (insecure) flags.set('replication.insecure', 'true')
  if (keysFile !== undefined) flags.set('replication.keys_file', keysFile)
  return flags
}

export function toConvertedConfig({ config, places, problems }: Conversion): ConvertedConfig {
  return { root: config, places, problems }
}

function kindOf(path: string): 'file' | 'folder' | undefined {
  const stats = statSync(path, { throwIfNoEntry: false })
  if (stats?.isDirectory()) return 'folder'
  return stats?.isFile() ? 'file' : undefined
}

function readText(file: string): string {
  try {
    return readRegularFile(file, MAX_FILE_BYTES).text
  } catch (error) {
    const message = `${file} cannot be read: ${messageOf(error)}`
    throw new TlscachedError('ERR_USAGE', message, { cause: error })
  }
}
