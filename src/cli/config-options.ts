// The configuration on the command line: a file, and a flag for each setting that can be given alone.

import { hostname } from 'node:os'
import { type Command, Option } from 'commander'
import { TlscachedError } from '../base/errors.ts'
import { type NodeConfig, readConfig } from '../node/config.ts'
import { CONFIG_VARIABLE, standaloneSettings } from '../node/config-settings.ts'

const CONFIG_FLAG = '--config <file>'

export function addConfigOptions(command: Command): Command {
  command.argument('[file]', `YAML file, the same as ${CONFIG_FLAG}`)
  command.option(CONFIG_FLAG, `YAML file with the configuration (also ${CONFIG_VARIABLE})`)
  for (const { flag, form, description, defaultText } of standaloneSettings) {
    const fallback = defaultText === undefined ? '' : `; default: ${defaultText}`
    command.addOption(
      new Option(`${flag} <value>`, `${description} (${form}${fallback})`).helpGroup(
        'Settings, stronger than the environment (TLSCACHED_*), which is stronger than the file:',
      ),
    )
  }
  return command
}

/** Reads what command line, environment and file say. Throws a ConfigError. */
export function readCommandConfig(file: string | undefined, command: Command): NodeConfig {
  const path = configPath(file, command)
  const flags = new Map<string, string>()
  for (const { key, flag } of standaloneSettings) {
    const value: unknown = command.getOptionValue(new Option(flag).attributeName())
    if (typeof value === 'string') flags.set(key, value)
  }
  return readConfig({ file: path, environment: process.env, flags, hostName: hostname() })
}

/** Which file to read, or undefined for none. Throws ERR_USAGE when two are named. */
export function configPath(file: string | undefined, command: Command): string | undefined {
  const option: unknown = command.getOptionValue('config')
  if (typeof option !== 'string') return file ?? process.env[CONFIG_VARIABLE]
  if (file === undefined) return option
  throw new TlscachedError('ERR_USAGE', 'the file is named twice: as an argument and by --config')
}
