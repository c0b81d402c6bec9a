// `tlscached check`: says everything that is wrong with a configuration, without running it.

import { Command } from 'commander'
import { TlscachedError } from '../base/errors.ts'
import type { NodeConfig } from '../node/config.ts'
import { ConfigError, type ConfigProblem, formatProblem } from '../node/config-error.ts'
import { formatReference } from '../node/config-reference.ts'
import { keyringOf } from '../node/keys.ts'
import { addConfigOptions, configPath, readCommandConfig } from './config-options.ts'
import { INVALID } from './exit-codes.ts'

interface CheckOptions {
  readonly json?: boolean
  readonly reference?: boolean
}

export function checkCommand(): Command {
  const command = new Command('check')
    .description('Check a configuration as serve would read it, keys included.')
    .option('--json', 'print {"ok":..,"problems":[..]}')
    .option('--reference', 'print the reference of all settings instead, as a Markdown table')
  return addConfigOptions(command).action(check)
}

function check(file: string | undefined, options: CheckOptions, command: Command): void {
  if (options.reference) {
    console.log(formatReference())
    return
  }
  const path = configPath(file, command)
  const problems = findProblems(path ?? 'config', () => readCommandConfig(file, command))
  const isOk = problems.length === 0
  if (options.json) console.log(JSON.stringify({ ok: isOk, problems }))
  else if (isOk) console.log(`${path ?? 'the configuration'} is valid`)
  else for (const problem of problems) console.error(formatProblem(problem))
  if (!isOk) process.exitCode = INVALID
}

function findProblems(where: string, read: () => NodeConfig): readonly ConfigProblem[] {
  try {
    const { replication } = read()
    if (replication !== undefined) keyringOf(replication)
    return []
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    if (!(error instanceof TlscachedError) || error.code === 'ERR_USAGE') throw error
    return [{ where, key: 'replication', message: error.message }]
  }
}
