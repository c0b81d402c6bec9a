// A file of uWSGI in place of our own: the options that name it, and what it comes to.

import { statSync } from 'node:fs'
import { hostname } from 'node:os'
import { type Command, Option } from 'commander'
import { messageOf, TlscachedError } from '../base/errors.ts'
import { readRegularFile } from '../base/regular-file.ts'
import type { ConvertedConfig } from '../node/config-sources.ts'
import { nearest } from '../node/nearest.ts'
import { type Conversion, convert } from '../uwsgi/conversion.ts'
import { WIRES, type Wire } from '../uwsgi/converted-replication.ts'
import { parseIni } from '../uwsgi/ini.ts'

const GROUP = 'With a file of uWSGI:'
/** Where the terminator of a converted file is told to find its node. */
export const DEFAULT_RPC_ADDRESS = 'unix:/run/tlscached/rpc.sock'
/** A file of options has a few kilobytes. */
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

/** The file converted, or undefined when none was named. Throws ERR_USAGE. */
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

/** Problems are part of what is returned, but for a file that cannot be read: ERR_USAGE. */
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

/** What the command line adds to the file, in the form of flags. */
export function uwsgiFlags(options: UwsgiOptions, { config }: Conversion): Map<string, string> {
  const flags = new Map<string, string>()
  const { keysFile, insecure } = options
  if (insecure) flags.set('frontends.insecure', 'true')
  const { replication } = config
  // Without nodes of our own there is nothing to have keys for.
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
    const message = `--uwsgi: ${file} cannot be read: ${messageOf(error)}`
    throw new TlscachedError('ERR_USAGE', message, { cause: error })
  }
}
