// Settings on the command line: a file, and a flag for each setting that can be given alone.

import { type Command, Option } from 'commander'
import { TlscachedError } from '../base/errors.ts'
import { configVariable, ENVIRONMENT_PREFIX, type StandaloneSetting } from '../settings/schema.ts'
import type { Flags } from '../settings/sources.ts'

const CONFIG_FLAG = '--config <file>'
const LIST_FLAGS = { repeated: 'one a flag', commas: 'with commas between' } as const

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
  for (const { flag, form, description, defaultText, isBoolean, isSecret, listFlag } of settings) {
    if (isSecret) {
      command.addOption(new Option(`${flag} <value>`).hideHelp())
      continue
    }
    const isSwitch = isBoolean && hasSwitches
    const fallback = defaultText === undefined ? '' : `; default: ${defaultText}`
    const given = listFlag === undefined ? form : `${form}, ${LIST_FLAGS[listFlag]}`
    const help = isSwitch ? description : `${description} (${given}${fallback})`
    const option = new Option(isSwitch ? flag : `${flag} <value>`, help).helpGroup(
      `Settings, stronger than the environment (${prefix}*), which is stronger than the file:`,
    )
    if (listFlag === 'repeated') {
      option.argParser((value, before: readonly string[] = []) => [...before, value])
    }
    command.addOption(option)
  }
  return command
}

/** Adds the flags that were given to `flags`, by the key of their setting. Throws ERR_USAGE for a secret. */
export function readFlags(
  command: Command,
  settings: readonly StandaloneSetting[],
  flags = new Map<string, string | readonly string[]>(),
): Flags {
  for (const { key, flag, isSecret } of settings) {
    const value: unknown = command.getOptionValue(new Option(flag).attributeName())
    if (value === undefined) continue
    if (isSecret) throw new TlscachedError('ERR_USAGE', secretFlagMessage(flag))
    flags.set(key, Array.isArray(value) ? value.map(String) : String(value))
  }
  return flags
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

function secretFlagMessage(flag: string): string {
  return (
    `${flag}: every user of this machine can read a command line, so what stands there is secret no more: ` +
    `make new keys with "tlscached keygen --out FILE" and give ${flag}-file FILE`
  )
}
