// The configuration on the command line: a file, and a flag for each setting that can be given alone.

import { hostname } from 'node:os'
import { type Command, Option } from 'commander'
import { codeOf, messageOf, TlscachedError } from '../base/errors.ts'
import { type NodeConfig, readConfig } from '../node/config.ts'
import { standaloneSettings } from '../node/config-schema.ts'
import { keyringOf } from '../node/keys.ts'
import { configVariable, ENVIRONMENT_PREFIX, type StandaloneSetting } from '../settings/schema.ts'
import { addUwsgiOptions, readUwsgiFile, toConvertedConfig, uwsgiFlags } from './uwsgi-options.ts'

const CONFIG_FLAG = '--config <file>'

export function addConfigOptions(command: Command): Command {
  return addUwsgiOptions(addSettingOptions(command, standaloneSettings))
}

/**
 * Adds a file and a flag for each setting. Variables begin with `prefix`. With `hasSwitches` a flag for true or false
 * takes no value.
 */
export function addSettingOptions(
  command: Command,
  settings: readonly StandaloneSetting[],
  prefix = ENVIRONMENT_PREFIX,
  hasSwitches = false,
): Command {
  command.argument('[file]', `YAML file, the same as ${CONFIG_FLAG}`)
  command.option(CONFIG_FLAG, `YAML file with the configuration (also ${configVariable(prefix)})`)
  for (const { flag, form, description, defaultText, isBoolean, isSecret } of settings) {
    if (isSecret) {
      command.addOption(new Option(`${flag} <value>`).hideHelp())
      continue
    }
    const isSwitch = isBoolean && hasSwitches
    const fallback = defaultText === undefined ? '' : `; default: ${defaultText}`
    const help = isSwitch ? description : `${description} (${form}${fallback})`
    command.addOption(
      new Option(isSwitch ? flag : `${flag} <value>`, help).helpGroup(
        `Settings, stronger than the environment (${prefix}*), which is stronger than the file:`,
      ),
    )
  }
  return command
}

/** Adds the flags that were given to `flags`, by the key of their setting. Throws ERR_USAGE for a secret. */
export function readFlags(
  command: Command,
  settings: readonly StandaloneSetting[],
  flags = new Map<string, string>(),
): Map<string, string> {
  for (const { key, flag, isSecret } of settings) {
    const value: unknown = command.getOptionValue(new Option(flag).attributeName())
    if (typeof value !== 'string' && value !== true) continue
    if (isSecret) throw new TlscachedError('ERR_USAGE', secretFlagMessage(flag))
    flags.set(key, String(value))
  }
  return flags
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
  const flags = conversion ? uwsgiFlags(command.opts(), conversion) : new Map<string, string>()
  readFlags(command, standaloneSettings, flags)
  const sources = { environment: process.env, flags, hostName: hostname() }
  if (conversion === undefined) return readConfig({ ...sources, file: configPath(file, command) })
  if (file !== undefined || command.getOptionValue('config') !== undefined) {
    throw new TlscachedError('ERR_USAGE', '--uwsgi takes the place of a configuration file')
  }
  const config = readConfig({ ...sources, converted: toConvertedConfig(conversion) })
  requireUwsgiKeys(config)
  return config
}

function secretFlagMessage(flag: string): string {
  return (
    `${flag}: every user of this machine can read a command line, so what stands there is secret no more: ` +
    `make new keys with "tlscached keygen --out FILE" and give ${flag}-file FILE`
  )
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

/** Returns the path of the file to read, or undefined for none. Throws ERR_USAGE when the file is named twice. */
export function configPath(
  file: string | undefined,
  command: Command,
  prefix?: string,
): string | undefined {
  const option: unknown = command.getOptionValue('config')
  if (typeof option !== 'string') return file ?? process.env[configVariable(prefix)]
  if (file === undefined) return option
  throw new TlscachedError('ERR_USAGE', 'the file is named twice: as an argument and by --config')
}
