// `tlscached convert`: converts files of uWSGI, and prints the result as a YAML file of our own or writes one for each.

import { mkdirSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { Command } from 'commander'
import { stringify } from 'yaml'
import { codeOf, messageOf, TlscachedError } from '../base/errors.ts'
import { checkConverted } from '../node/config.ts'
import { keyringOf } from '../node/keys.ts'
import { ConfigError, type ConfigProblem, formatProblem } from '../settings/errors.ts'
import type { Conversion } from '../uwsgi/conversion.ts'
import type { Note } from '../uwsgi/ini.ts'
import { INVALID } from './exit-codes.ts'
import { Progress } from './terminal.ts'
import {
  convertFile,
  insecureOption,
  toConvertedConfig,
  type UwsgiOptions,
  wireOption,
} from './uwsgi-options.ts'
import { terminateArguments } from './uwsgi-terminator.ts'

interface ConvertOptions extends UwsgiOptions {
  readonly json?: boolean
  readonly out?: string
}

export function convertCommand(): Command {
  const command = new Command('convert')
    .description('Print the configuration that a file of uWSGI comes to.')
    .argument('<files...>', 'ini files of uWSGI; several need --out or --json')
    .option('--out <folder>', 'write each file.ini as file.yaml there; none may exist yet')
    .option(
      '--json',
      'print {"file":..,"ok":..,"config":..,"terminate":..,"notes":..,"problems":..}, one line for each file',
    )
  return command.addOption(insecureOption()).addOption(wireOption()).action(run)
}

function run(files: readonly string[], options: ConvertOptions): void {
  const { out, json } = options
  if (files.length > 1 && out === undefined && !json) {
    throw new TlscachedError('ERR_USAGE', `${files.length} files: give --out FOLDER, or --json`)
  }
  const outputs = out === undefined ? [] : outputsOf(files, out)
  const progress = new Progress()
  for (const [index, file] of files.entries()) {
    progress.show('files converted:', index, files.length)
    try {
      const examined = examine(file, options)
      progress.clear()
      if (!examined.isOk) process.exitCode = INVALID
      print(file, examined, options, outputs[index])
    } catch (error) {
      // A file that cannot be read or written keeps no other from being converted.
      if (codeOf(error) !== 'ERR_USAGE') throw error
      progress.clear()
      console.error(messageOf(error))
      process.exitCode = INVALID
    }
  }
}

/** Returns the file to be written for each of these. Throws ERR_USAGE when two would become the same. */
function outputsOf(files: readonly string[], folder: string): string[] {
  const sources = new Map<string, string>()
  return files.map((file) => {
    const output = join(folder, `${basename(file, '.ini')}.yaml`)
    const other = sources.get(output)
    if (other !== undefined) {
      throw new TlscachedError('ERR_USAGE', `${other} and ${file} would both become ${output}`)
    }
    sources.set(output, file)
    return output
  })
}

/** Prints a converted file, or writes it to `output`; its problems are printed to standard error. */
function print(
  file: string,
  { isOk, conversion, problems }: Examined,
  { json }: ConvertOptions,
  output: string | undefined,
): void {
  const { config, terminator, notes } = conversion
  if (json) {
    const terminate = terminator === undefined ? null : terminateArguments(terminator)
    console.log(JSON.stringify({ file, ok: isOk, config, terminate, notes, problems }))
  } else for (const problem of problems) console.error(formatProblem(problem))
  if (!isOk) return
  const text = formatConversion(conversion)
  if (output === undefined) {
    if (!json) console.log(text.trimEnd())
    return
  }
  write(output, text)
  if (!json)
    console.log(`${output} written${notes.length > 0 ? ': read the notes at its top' : ''}`)
}

/** Writes a new file. Throws ERR_USAGE when it exists already, or cannot be made. */
function write(output: string, text: string): void {
  try {
    mkdirSync(dirname(output), { recursive: true })
    writeFileSync(output, text, { flag: 'wx' })
  } catch (error) {
    const message = `--out: ${output} cannot be written: ${messageOf(error)}`
    throw new TlscachedError('ERR_USAGE', message, { cause: error })
  }
}

interface Examined {
  readonly isOk: boolean
  /** With a note where keys must be added. */
  readonly conversion: Conversion
  readonly problems: readonly ConfigProblem[]
}

function examine(file: string, options: ConvertOptions): Examined {
  const conversion = convertFile(file, options)
  const { problems, needsKeys } = check(conversion)
  const notes = needsKeys ? [...conversion.notes, keysNote(conversion, file)] : conversion.notes
  return { isOk: problems.length === 0, conversion: { ...conversion, notes }, problems }
}

/** Returns the problems of the file and of its conversion, and whether only keys are missing. */
function check(conversion: Conversion) {
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
