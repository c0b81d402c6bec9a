// `tlscached convert`: converts a file of uWSGI and prints the result as a YAML file of our own.

import { Command } from 'commander'
import { stringify } from 'yaml'
import { codeOf } from '../base/errors.ts'
import { checkConverted } from '../node/config.ts'
import { keyringOf } from '../node/keys.ts'
import { ConfigError, formatProblem } from '../settings/errors.ts'
import type { Conversion } from '../uwsgi/conversion.ts'
import type { Note } from '../uwsgi/ini.ts'
import { INVALID } from './exit-codes.ts'
import {
  convertFile,
  insecureOption,
  toConvertedConfig,
  type UwsgiOptions,
  wireOption,
} from './uwsgi-options.ts'
import { terminateArguments } from './uwsgi-terminator.ts'

export function convertCommand(): Command {
  const command = new Command('convert')
    .description('Print the configuration that a file of uWSGI comes to.')
    .argument('<file>', 'ini file of uWSGI')
    .option('--json', 'print {"ok":..,"config":..,"terminate":..,"notes":..,"problems":..}')
  return command.addOption(insecureOption()).addOption(wireOption()).action(run)
}

function run(file: string, options: UwsgiOptions & { readonly json?: boolean }): void {
  const conversion = convertFile(file, options)
  const { problems, needsKeys } = examine(conversion)
  const isOk = problems.length === 0
  const { config, terminator } = conversion
  const notes = needsKeys ? [...conversion.notes, keysNote(conversion, file)] : conversion.notes
  if (options.json) {
    const terminate = terminator === undefined ? null : terminateArguments(terminator)
    console.log(JSON.stringify({ ok: isOk, config, terminate, notes, problems }))
  } else if (isOk) console.log(formatConversion({ ...conversion, notes }).trimEnd())
  else for (const problem of problems) console.error(formatProblem(problem))
  if (!isOk) process.exitCode = INVALID
}

/** Returns the problems of the file and of its conversion, and whether only keys are missing. */
function examine(conversion: Conversion) {
  try {
    const { replication } = checkConverted(toConvertedConfig(conversion))
    if (replication !== undefined) keyringOf(replication)
    return { problems: [], needsKeys: false }
  } catch (error) {
    if (codeOf(error) === 'ERR_INSECURE') return { problems: [], needsKeys: true }
    if (error instanceof ConfigError) return { problems: error.problems, needsKeys: false }
    throw error
  }
}

/** Returns a note that keys must be added, because a file of uWSGI has none. */
function keysNote({ places }: Conversion, file: string): Note {
  const where = places.find(({ path }) => path.join('.') === 'replication')?.where ?? file
  const why =
    'must be added, a file of "tlscached keygen", the same on every node: they are not all on loopback'
  return { option: 'replication.keys_file', where, why }
}

function formatConversion({ config, notes, terminator }: Conversion): string {
  const lines = notes.map(({ where, option, why }) => `# ${where}: ${option}: ${why}\n`)
  const command =
    terminator === undefined
      ? ''
      : `# In front of it: tlscached terminate ${terminateArguments(terminator).map(quoted).join(' ')}\n`
  return `${lines.join('')}${command}${stringify(config, { lineWidth: 100 })}`
}

/** Quotes an argument for a shell. */
function quoted(argument: string): string {
  return /^[\w@%+=:,./-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", "'\\''")}'`
}
