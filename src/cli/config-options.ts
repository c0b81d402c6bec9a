// The configuration of a node on the command line, which may be a file of uWSGI instead of our own.

import { hostname } from 'node:os'
import type { Command } from 'commander'
import { codeOf, messageOf, TlscachedError } from '../base/errors.ts'
import { type NodeConfig, readConfig } from '../node/config.ts'
import { standaloneSettings } from '../node/config-schema.ts'
import { keyringOf } from '../node/keys.ts'
import { addSettingOptions, configPath, readFlags } from './setting-options.ts'
import { addUwsgiOptions, readUwsgiFile, toConvertedConfig, uwsgiFlags } from './uwsgi-options.ts'

export function addConfigOptions(command: Command): Command {
  return addUwsgiOptions(addSettingOptions(command, standaloneSettings))
}

/**
 * Reads the configuration from the command line, the environment and the file. Throws a ConfigError, ERR_USAGE, or
 * ERR_INSECURE for a file of uWSGI whose nodes need keys.
 */
export function readCommandConfig(
  file: string | undefined,
  command: Command,
  rpcAddress?: string,
): NodeConfig {
  const conversion = readUwsgiFile(command.opts(), rpcAddress)
  const converted = conversion ? uwsgiFlags(command.opts(), conversion) : []
  const flags = readFlags(command, standaloneSettings, new Map(converted))
  const sources = { environment: process.env, flags, hostName: hostname() }
  if (conversion === undefined) return readConfig({ ...sources, file: configPath(file, command) })
  if (file !== undefined || command.getOptionValue('config') !== undefined) {
    throw new TlscachedError('ERR_USAGE', '--uwsgi takes the place of a configuration file')
  }
  const config = readConfig({ ...sources, converted: toConvertedConfig(conversion) })
  requireUwsgiKeys(config)
  return config
}

/**
 * Throws ERR_INSECURE when the nodes of a uWSGI file need keys, like any node at its start, but naming the flags to
 * add.
 */
function requireUwsgiKeys({ replication }: NodeConfig): void {
  if (replication === undefined) return
  try {
    keyringOf(replication)
  } catch (error) {
    if (codeOf(error) !== 'ERR_INSECURE') throw error
    const message =
      `${messageOf(error)}; beside a file of uWSGI that is --keys-file FILE, ` +
      'the same on all nodes, or --insecure'
    throw new TlscachedError('ERR_INSECURE', message, { cause: error })
  }
}
