// `tlscached doctor`: examines a node, its machine, its peers and the terminators beside it, and says what to type.

import { existsSync } from 'node:fs'
import { Command, Option } from 'commander'
import { type Address, parseAddress } from '../base/address.ts'
import { type DoctorOptions, examine, type NodeAnswer } from '../doctor/doctor.ts'
import { isHealthy, linesOf } from '../doctor/finding.ts'
import { systemMachine } from '../doctor/machine.ts'
import { systemProbes } from '../doctor/probes.ts'
import type { NodeConfig } from '../node/config.ts'
import { ConfigError } from '../settings/errors.ts'
import { addConfigOptions, readCommandConfig } from './config-options.ts'
import { FAILED } from './exit-codes.ts'
import { configPath } from './setting-options.ts'
import { askCluster, askPeers } from './stats.ts'
import { outputColumns, wrapped } from './terminal.ts'

/** Read when no other file is named and it is there. */
const USUAL_FILE = '/etc/tlscached.yaml'

interface DoctorCommandOptions {
  readonly json?: boolean
  readonly http?: Address
  readonly user?: string
}

export function doctorCommand(): Command {
  const command = new Command('doctor')
    .description(
      `Examine a node, its machine, its peers and the TLS terminators beside it. Without a file: ${USUAL_FILE}, if it is there.`,
    )
    .option('--json', 'print {"ok":..,"findings":[{"check":..,"level":..,"message":..,"fix":..}]}')
    .addOption(
      new Option(
        '--http <address>',
        'HTTP frontend of the node, instead of the configured one',
      ).argParser(parseAddress),
    )
    .option('--user <name>', 'user that the node runs as, instead of the one found')
  return addConfigOptions(command).action(doctor)
}

async function doctor(
  given: string | undefined,
  options: DoctorCommandOptions,
  command: Command,
): Promise<void> {
  const isNamed = configPath(given, command) !== undefined || command.getOptionValue('uwsgi')
  const file = isNamed || !existsSync(USUAL_FILE) ? given : USUAL_FILE
  const read = readConfiguration(() => readCommandConfig(file, command))
  const findings = await examine({
    ...read,
    file: configPath(file, command),
    answer: read.config && (await askNode(read.config, options.http)),
    userName: options.user,
    machine: systemMachine,
    probes: systemProbes,
  })
  const isOk = isHealthy(findings)
  if (options.json) console.log(JSON.stringify({ ok: isOk, findings }))
  else console.log(linesOf(findings).flatMap(fitted).join('\n'))
  if (!isOk) process.exitCode = FAILED
}

/** Breaks a line so that its text stays in the last column. */
function fitted(line: string): string[] {
  const before = /^(?: *-> |\S+ +\S+ +)/.exec(line)?.[0] ?? ''
  return wrapped(line, outputColumns(), before.length)
}

function readConfiguration(read: () => NodeConfig): Pick<DoctorOptions, 'config' | 'problems'> {
  try {
    return { config: read(), problems: [] }
  } catch (error) {
    if (error instanceof ConfigError) return { config: undefined, problems: error.problems }
    throw error
  }
}

/** Asks the node for what it has heard; undefined when it does not answer. */
async function askNode(
  { frontends, nodeName }: NodeConfig,
  http: Address | undefined,
): Promise<NodeAnswer | undefined> {
  // The stats frontend answers HTTP, too, and its document has the same fields.
  const address = http ?? frontends.http ?? frontends.stats
  if (address === undefined) return undefined
  try {
    const { node, ready = true, reason = '', peers } = await askPeers(address)
    if (http === undefined && node !== nodeName) return undefined
    return { ready, reason, peers, ...(await askOpinions(address, node)) }
  } catch {
    return undefined
  }
}

/** Asks what the node and its peers say of it; a node of an earlier release says nothing. */
async function askOpinions(
  address: Address,
  own: string,
): Promise<Pick<NodeAnswer, 'views' | 'problems'>> {
  const { nodes } = await askCluster(address).catch(() => ({ nodes: [] }))
  const views = nodes.flatMap(({ node, summary }) => {
    const all = summary?.peers.filter(({ name }) => name === own) ?? []
    const view = all.find(({ up }) => up) ?? all[0]
    return view === undefined ? [] : [[node, view] as const]
  })
  const problems = nodes.find(({ node }) => node === own)?.summary?.problems ?? []
  return { views: new Map(views), problems }
}
