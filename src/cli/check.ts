// `tlscached check`: reports everything that is wrong with a configuration, without running it.

import { hostname } from 'node:os'
import { Command, Option } from 'commander'
import { TlscachedError } from '../base/errors.ts'
import type { NodeConfig } from '../node/config.ts'
import { configSchema, settings, standaloneSettings } from '../node/config-schema.ts'
import { findWarnings } from '../node/config-warnings.ts'
import { keyringOf } from '../node/keys.ts'
import { readRepeaterConfig, repeaterSchema, repeaterSettings } from '../node/repeater-config.ts'
import { ConfigError, type ConfigProblem, formatProblem } from '../settings/errors.ts'
import { COMMAND_PREFIXES, formatReference, jsonSchemaOf } from '../settings/schema.ts'
import { addConfigOptions, configPath, readCommandConfig, readFlags } from './config-options.ts'
import { INVALID } from './exit-codes.ts'

/** The commands that have a configuration. */
const CONFIGURED = ['serve', 'repeat'] as const

interface CheckOptions {
  readonly for: (typeof CONFIGURED)[number]
  readonly json?: boolean
  readonly reference?: boolean
  readonly schema?: boolean
}

export function checkCommand(): Command {
  const command = new Command('check')
    .description('Check a configuration as serve or repeat would read it, keys included.')
    .addOption(
      new Option('--for <command>', 'the command whose configuration it is')
        .choices(CONFIGURED)
        .default('serve'),
    )
    .option('--json', 'print {"ok":..,"problems":[..],"warnings":[..]}')
    .option('--reference', 'print the reference of all settings instead, as a Markdown table')
    .option('--schema', 'print the JSON Schema of the file instead, for editors')
  return addConfigOptions(command).action(check)
}

function check(file: string | undefined, options: CheckOptions, command: Command): void {
  const isRepeater = options.for === 'repeat'
  if (options.reference) {
    console.log(formatReference(isRepeater ? repeaterSettings : settings))
    return
  }
  if (options.schema) {
    const [schema, whose] = isRepeater ? [repeaterSchema, ' repeat'] : [configSchema, '']
    const title = `Configuration of tlscached${whose}`
    console.log(JSON.stringify(jsonSchemaOf(schema, title), null, 2))
    return
  }
  const path = configPath(file, command, isRepeater ? COMMAND_PREFIXES.repeat : undefined)
  const { config, problems } = readChecked(path ?? 'config', isRepeater ? '' : 'replication', () =>
    isRepeater ? readRepeater(path, command) : readNode(file, command),
  )
  const isOk = problems.length === 0
  const warnings = config === undefined ? [] : findWarnings(config)
  if (options.json) console.log(JSON.stringify({ ok: isOk, problems, warnings }))
  else {
    for (const problem of problems) console.error(formatProblem(problem))
    for (const { key, message } of warnings) console.error(`warning: ${key}: ${message}`)
    if (isOk) console.log(`${path ?? 'the configuration'} is valid`)
  }
  if (!isOk) process.exitCode = INVALID
}

interface Checked {
  /** The configuration of a node; undefined for that of a repeater, and when there are problems. */
  readonly config: NodeConfig | undefined
  readonly problems: readonly ConfigProblem[]
}

function readNode(file: string | undefined, command: Command): NodeConfig {
  const config = readCommandConfig(file, command)
  if (config.replication !== undefined) keyringOf(config.replication)
  return config
}

/** Checks file and environment of a repeater, about which there is nothing to warn of. */
function readRepeater(path: string | undefined, command: Command): undefined {
  if (readFlags(command, standaloneSettings).size > 0) {
    throw new TlscachedError('ERR_USAGE', 'the settings here as flags are those of serve')
  }
  const sources = { file: path, environment: process.env, hostName: hostname() }
  keyringOf(readRepeaterConfig(sources))
}

function readChecked(where: string, key: string, read: () => NodeConfig | undefined): Checked {
  try {
    return { config: read(), problems: [] }
  } catch (error) {
    if (error instanceof ConfigError) return { config: undefined, problems: error.problems }
    if (!(error instanceof TlscachedError) || error.code === 'ERR_USAGE') throw error
    return { config: undefined, problems: [{ where, key, message: error.message }] }
  }
}
