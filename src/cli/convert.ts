// `tlscached convert`: prints what a file of uWSGI comes to, as a YAML file of our own.

import { Command } from 'commander'
import { stringify } from 'yaml'
import { checkConverted } from '../node/config.ts'
import { ConfigError, formatProblem } from '../node/config-error.ts'
import type { Conversion } from '../uwsgi/conversion.ts'
import { INVALID } from './exit-codes.ts'
import { convertFile, toConvertedConfig, type UwsgiOptions, wireOption } from './uwsgi-options.ts'
import { terminateArguments } from './uwsgi-terminator.ts'

export function convertCommand(): Command {
  const command = new Command('convert')
    .description('Print the configuration that a file of uWSGI comes to.')
    .argument('<file>', 'ini file of uWSGI')
    .option('--json', 'print {"ok":..,"config":..,"terminate":..,"notes":..,"problems":..}')
  return command.addOption(wireOption()).action(run)
}

function run(file: string, options: UwsgiOptions & { readonly json?: boolean }): void {
  const conversion = convertFile(file, options)
  const problems = problemsOf(conversion)
  const isOk = problems.length === 0
  const { config, notes, terminator } = conversion
  if (options.json) {
    const terminate = terminator === undefined ? null : terminateArguments(terminator)
    console.log(JSON.stringify({ ok: isOk, config, terminate, notes, problems }))
  } else if (isOk) console.log(formatConversion(conversion).trimEnd())
  else for (const problem of problems) console.error(formatProblem(problem))
  if (!isOk) process.exitCode = INVALID
}

/** Of the file, and of what it comes to. */
function problemsOf(conversion: Conversion) {
  try {
    checkConverted(toConvertedConfig(conversion))
    return []
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
}

function formatConversion({ config, notes, terminator }: Conversion): string {
  const lines = notes.map(({ where, option, why }) => `# ${where}: ${option}: ${why}\n`)
  const command =
    terminator === undefined
      ? ''
      : `# In front of it: tlscached terminate ${terminateArguments(terminator).map(quoted).join(' ')}\n`
  return `${lines.join('')}${command}${stringify(config, { lineWidth: 100 })}`
}

/** For a shell. */
function quoted(argument: string): string {
  return /^[\w@%+=:,./-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", "'\\''")}'`
}
