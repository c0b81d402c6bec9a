// `tlscached check`: reports everything that is wrong with a configuration, without running it.

import { hostname } from 'node:os'
import { Command, Option } from 'commander'
import type { z } from 'zod'
import { TlscachedError } from '../base/errors.ts'
import type { NodeConfig } from '../node/config.ts'
import { configSchema, settings, standaloneSettings } from '../node/config-schema.ts'
import { findWarnings } from '../node/config-warnings.ts'
import { foreignKeysFiles, type KeySettings, keyringOf } from '../node/keys.ts'
import { readRepeaterConfig, repeaterSchema, repeaterSettings } from '../node/repeater-config.ts'
import { ConfigError, type ConfigProblem, formatProblem } from '../settings/errors.ts'
import {
  COMMAND_PREFIXES,
  formatReference,
  jsonSchemaOf,
  type Setting,
} from '../settings/schema.ts'
import {
  checkTerminatorFiles,
  readTerminatorSettings,
  terminatorSchema,
  terminatorSettings,
} from '../terminator/settings.ts'
import { addConfigOptions, readCommandConfig } from './config-options.ts'
import { INVALID } from './exit-codes.ts'
import { configPath, readFlags } from './setting-options.ts'

interface Configured {
  readonly schema: z.ZodType
  readonly settings: readonly Setting[]
  /** What the variables begin with; undefined for those of a node. */
  readonly prefix?: string
  /** The section that an error is about which names no setting: those are errors of its keys. */
  readonly section: string
  /** Reads the configuration and the files that it names; only that of a node is returned, to be warned of. */
  readonly read: (path: string | undefined, command: Command) => NodeConfig | undefined
}

/** The commands that have a configuration. */
const CONFIGURED: Readonly<Record<'serve' | 'repeat' | 'terminate', Configured>> = {
  serve: { schema: configSchema, settings, section: 'replication', read: readNode },
  repeat: {
    schema: repeaterSchema,
    settings: repeaterSettings,
    prefix: COMMAND_PREFIXES.repeat,
    section: '',
    read: (file) => {
      checkKeys(readRepeaterConfig({ file, environment: process.env, hostName: hostname() }))
      return undefined
    },
  },
  terminate: {
    schema: terminatorSchema,
    settings: terminatorSettings,
    prefix: COMMAND_PREFIXES.terminate,
    section: '',
    read: (file) => {
      checkTerminatorFiles(readTerminatorSettings({ file, environment: process.env }))
      return undefined
    },
  },
}

interface CheckOptions {
  readonly for: keyof typeof CONFIGURED
  readonly json?: boolean
  readonly reference?: boolean
  readonly schema?: boolean
}

export function checkCommand(): Command {
  const command = new Command('check')
    .description(
      'Check a configuration as serve, repeat or terminate would read it, keys and certificates included.',
    )
    .addOption(
      new Option('--for <command>', 'the command whose configuration it is')
        .choices(Object.keys(CONFIGURED))
        .default('serve'),
    )
    .option('--json', 'print {"ok":..,"problems":[..],"warnings":[..]}')
    .option('--reference', 'print the reference of all settings instead, as a Markdown table')
    .option('--schema', 'print the JSON Schema of the file instead, for editors')
  return addConfigOptions(command).action(check)
}

function check(file: string | undefined, options: CheckOptions, command: Command): void {
  const configured = CONFIGURED[options.for]
  const isNode = options.for === 'serve'
  if (options.reference) {
    console.log(formatReference(configured.settings))
    return
  }
  if (options.schema) {
    const title = `Configuration of tlscached${isNode ? '' : ` ${options.for}`}`
    console.log(JSON.stringify(jsonSchemaOf(configured.schema, title), null, 2))
    return
  }
  const path = configPath(file, command, configured.prefix)
  if (!isNode && readFlags(command, standaloneSettings).size > 0) {
    throw new TlscachedError('ERR_USAGE', 'the settings here as flags are those of serve')
  }
  const { config, problems } = readChecked(path ?? 'config', configured.section, () =>
    configured.read(isNode ? file : path, command),
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
  /** The configuration of a node; undefined for that of another command, and when there are problems. */
  readonly config: NodeConfig | undefined
  readonly problems: readonly ConfigProblem[]
}

function readNode(file: string | undefined, command: Command): NodeConfig {
  const config = readCommandConfig(file, command)
  if (config.replication !== undefined) checkKeys(config.replication)
  return config
}

function checkKeys(settings: KeySettings): void {
  keyringOf(settings, settings.listen, foreignKeysFiles)
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
