// `tlscached check`: reports everything that is wrong with a configuration, without running it.

import { Command } from 'commander'
import { TlscachedError } from '../base/errors.ts'
import type { NodeConfig } from '../node/config.ts'
import { configSchema, settings } from '../node/config-schema.ts'
import { findWarnings } from '../node/config-warnings.ts'
import { keyringOf } from '../node/keys.ts'
import { ConfigError, type ConfigProblem, formatProblem } from '../settings/errors.ts'
import { formatReference, jsonSchemaOf } from '../settings/schema.ts'
import { addConfigOptions, configPath, readCommandConfig } from './config-options.ts'
import { INVALID } from './exit-codes.ts'

interface CheckOptions {
  readonly json?: boolean
  readonly reference?: boolean
  readonly schema?: boolean
}

export function checkCommand(): Command {
  const command = new Command('check')
    .description('Check a configuration as serve would read it, keys included.')
    .option('--json', 'print {"ok":..,"problems":[..],"warnings":[..]}')
    .option('--reference', 'print the reference of all settings instead, as a Markdown table')
    .option('--schema', 'print the JSON Schema of the file instead, for editors')
  return addConfigOptions(command).action(check)
}

function check(file: string | undefined, options: CheckOptions, command: Command): void {
  if (options.reference) {
    console.log(formatReference(settings))
    return
  }
  if (options.schema) {
    console.log(JSON.stringify(jsonSchemaOf(configSchema, 'Configuration of tlscached'), null, 2))
    return
  }
  const path = configPath(file, command)
  const { config, problems } = readChecked(path ?? 'config', () => readCommandConfig(file, command))
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
  /** The configuration; undefined when there are problems. */
  readonly config?: NodeConfig
  readonly problems: readonly ConfigProblem[]
}

function readChecked(where: string, read: () => NodeConfig): Checked {
  try {
    const config = read()
    if (config.replication !== undefined) keyringOf(config.replication)
    return { config, problems: [] }
  } catch (error) {
    if (error instanceof ConfigError) return { problems: error.problems }
    if (!(error instanceof TlscachedError) || error.code === 'ERR_USAGE') throw error
    return { problems: [{ where, key: 'replication', message: error.message }] }
  }
}
