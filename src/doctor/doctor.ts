// Examines a node, its machine and its peers, and says what is wrong and what to type.

import { getHeapStatistics } from 'node:v8'
import { formatAddress } from '../base/address.ts'
import type { NodeConfig } from '../node/config.ts'
import { findWarnings } from '../node/config-warnings.ts'
import { type ConfigProblem, formatProblem } from '../settings/errors.ts'
import { type Finding, findingsAbout } from './finding.ts'
import { limitFindings } from './limits.ts'
import { findUser, listProcesses, type Machine, type Process, type User } from './machine.ts'
import { examineKeys, type OwnFacts, portFindings, socketFindings } from './own-files.ts'
import { type HeardPeer, type PeerView, peerFindings } from './peers.ts'
import type { Probes } from './probes.ts'
import { terminatorFindings } from './terminators/examine.ts'

/** Where systemd looks for a unit, the strongest first. */
const UNIT_FILES = [
  '/etc/systemd/system/tlscached.service',
  '/usr/local/lib/systemd/system/tlscached.service',
  '/lib/systemd/system/tlscached.service',
]
/** Title of the process of a node, before its name. */
const TITLE = 'tlscached serve '

/** What the running node says of itself over HTTP or the stats frontend. */
export interface NodeAnswer {
  readonly ready: boolean
  readonly reason: string
  readonly peers: readonly HeardPeer[]
  /** What peers say of this node, by their names; those that told nothing are left out. */
  readonly views?: ReadonlyMap<string, PeerView>
  /** What it finds wrong with itself, of the last ten minutes. */
  readonly problems?: readonly NamedProblem[]
}

/** A problem that the running node names itself, as in `/v1/cluster`. */
export interface NamedProblem {
  readonly code: string
  readonly severity: 'error' | 'warning'
  readonly sentence: string
  readonly remedy: string
}

/** Problems that are looked at more closely here. */
const EXAMINED_PROBLEMS = new Set(['alone', 'peer_silent', 'peer_unanswered', 'peer_sync_failed'])

export interface DoctorOptions {
  /** The file of the configuration; undefined for none. */
  readonly file: string | undefined
  /** Undefined when it is not valid, and then `problems` says why. */
  readonly config: NodeConfig | undefined
  readonly problems: readonly ConfigProblem[]
  /** Undefined when no node answers. */
  readonly answer: NodeAnswer | undefined
  /** User that the node runs as; default: that of the running node, of its unit, or of doctor itself. */
  readonly userName?: string | undefined
  readonly machine: Machine
  readonly probes: Probes
  /** Largest size of V8's heap; default that of this process. */
  readonly heapBytes?: number
}

/** Resolves with the findings, in the order in which they were looked for. */
export async function examine(options: DoctorOptions): Promise<readonly Finding[]> {
  const { machine, config, answer, file } = options
  const { heapBytes = getHeapStatistics().heap_size_limit } = options
  const processes = listProcesses(machine)
  const node = config && findNode(machine, processes, config)
  const found = [
    ...configFindings(options),
    ...(config === undefined ? [] : nodeFindings(config, node, answer)),
    ...problemFindings(answer),
  ]
  if (config !== undefined) {
    const user = userOf(options, node)
    if (user === undefined) {
      const { error } = findingsAbout('process')
      found.push(error(`there is no user ${options.userName}`, 'getent passwd lists the users'))
    } else {
      const own: OwnFacts = { machine, config, file, user, process: node }
      const { findings, keyring } = examineKeys(own)
      found.push(...findings, ...socketFindings(own), ...portFindings(own))
      found.push(...(await peersOf(options, config, keyring)))
    }
  }
  return [
    ...found,
    ...terminatorFindings({ machine, processes, config }),
    ...limitFindings({ machine, process: node, config, heapBytes }),
  ]
}

function configFindings({ file, config, problems }: DoctorOptions): readonly Finding[] {
  const { ok, warning, error } = findingsAbout('configuration')
  const fix = `correct it, then tlscached check ${file ?? ''}`.trim()
  const wrong = problems.map((problem) => error(formatProblem(problem), fix))
  if (config === undefined) return wrong
  // Folders and keys are looked at for the user that the node runs as, not for this one.
  const warnings = findWarnings(config)
    .filter(({ key }) => key !== 'replication.keys_file' && !key.startsWith('frontends.'))
    .map(({ key, message }) => warning(`${key}: ${message}`, 'see deploy/troubleshooting.md'))
  return [ok(`${file ?? 'the configuration'} is valid`), ...wrong, ...warnings]
}

/** Finds the process of the node. One of that name in a container is another node: its network is not this one. */
function findNode(
  machine: Machine,
  processes: readonly Process[],
  { nodeName }: NodeConfig,
): Process | undefined {
  const here = machine.linkAt('/proc/self/ns/net')
  return processes.find(({ args, pid }) => {
    if (args[0] !== TITLE + nodeName) return false
    const there = machine.linkAt(`/proc/${pid}/ns/net`)
    return here === undefined || there === undefined || here === there
  })
}

function nodeFindings(
  { nodeName, frontends }: NodeConfig,
  node: Process | undefined,
  answer: NodeAnswer | undefined,
): readonly Finding[] {
  const { ok, warning, error } = findingsAbout('process')
  const where = frontends.http ?? frontends.stats
  if (answer !== undefined) {
    if (answer.ready) return [ok(`${nodeName} is ready: ${answer.reason}`)]
    return [error(`${nodeName} is not ready: ${answer.reason}`, 'wait, and look into its log')]
  }
  if (node === undefined) {
    const message = `no node ${nodeName} runs here: what only a running one knows is left out`
    return [warning(message, 'systemctl start tlscached, then run doctor again')]
  }
  if (where === undefined) {
    const message = `${nodeName} runs, and has no frontend to ask: what it has heard is left out`
    return [warning(message, 'set frontends.http')]
  }
  const address = formatAddress(where)
  const message = `${nodeName} runs, and does not answer at ${address}`
  return [error(message, 'restart it with this configuration; run doctor as its user or as root')]
}

function problemFindings(answer: NodeAnswer | undefined): readonly Finding[] {
  const about = findingsAbout('problems')
  const named = (answer?.problems ?? []).filter(({ code }) => !EXAMINED_PROBLEMS.has(code))
  return named.map(({ severity, sentence, remedy }) => about[severity](sentence, remedy))
}

function userOf({ machine, userName }: DoctorOptions, node: Process | undefined): User | undefined {
  if (userName !== undefined) return findUser(machine, userName)
  if (node !== undefined) return findUser(machine, node.uid)
  const unit = UNIT_FILES.map((path) => machine.read(path)).find((text) => text !== undefined)
  const inUnit = /^User=(\S+)/m.exec(unit ?? '')?.[1]
  return (inUnit && findUser(machine, inUnit)) || findUser(machine, machine.uid)
}

async function peersOf(
  { answer, probes }: DoctorOptions,
  { replication, caches }: NodeConfig,
  keyring: Parameters<typeof peerFindings>[0]['keyring'],
): Promise<readonly Finding[]> {
  if (replication === undefined) return []
  const lifetimeMs = Math.min(...caches.map(({ limits }) => limits.timeoutMs))
  const { peers: heard, views = new Map() } = answer ?? {}
  return peerFindings({ replication, heard, views, keyring, lifetimeMs, probes })
}
